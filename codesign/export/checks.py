"""The checks a bundle must pass before it gets its manifest, and the manifest itself."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from codesign.data import Split
from codesign.errors import RunError
from codesign.evaluate.accuracy import Score, score
from codesign.integer.model import IntegerModel

MANIFEST = "MANIFEST.sha256"


def replay_bundle(folder: Path) -> str:
    """Run the bundle's own verify.py in a fresh process; return its last line.

    Raises:
        RunError: It found a difference; the message is the line that says where.
    """
    done = subprocess.run(
        [sys.executable, "-I", "-B", "verify.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = (done.stdout + done.stderr).strip().splitlines()
    last = lines[-1] if lines else "no output"
    if done.returncode:
        raise RunError(f"the bundle's replay failed: {last}. Nothing was exported.")
    return last


def load_bundle_model(folder: Path) -> IntegerModel:
    """Return the integer model that a bundle's graph.json and weights.npz describe."""
    graph = json.loads((folder / "graph.json").read_text())
    with np.load(folder / "weights.npz", allow_pickle=False) as file:
        tensors = {key: file[key] for key in file.files}
    return IntegerModel.from_json(graph, tensors)


def rescore_bundle(folder: Path, validation: Split, accuracy: float) -> Score:
    """Score the model read back from the bundle's files on the whole validation split.

    Args:
        folder: The bundle.
        validation: The images the trial was scored on.
        accuracy: The trial's accuracy, a fraction.

    Raises:
        RunError: The number of correct images is another than the trial's.
    """
    found = score(load_bundle_model(folder), validation)
    wanted = accuracy * found.images
    if abs(found.correct - wanted) > 1e-6:
        raise RunError(
            f"the bundle classifies {found.correct} of {found.images} validation images correctly,"
            f" the trial {wanted:g}. Nothing was exported."
        )
    return found


def manifest(folder: Path) -> str:
    """Return the SHA-256 of every file of a folder in the format of `sha256sum -c`."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n"
        for path in files
    ]
    return "".join(lines)


def listed_files(folder: Path) -> set[str]:
    """Return the paths that a bundle's manifest names, the manifest's own included."""
    lines = (folder / MANIFEST).read_text().splitlines()
    return {MANIFEST, *(line.partition("  ")[2] for line in lines)}
