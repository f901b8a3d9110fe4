"""Write a bundle: everything in a folder beside the target, checked, then renamed into place."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codesign.data import Split
from codesign.design import Design
from codesign.errors import UserError
from codesign.export.checks import MANIFEST, listed_files, manifest, replay_bundle, rescore_bundle
from codesign.export.golden import Golden, golden_vectors
from codesign.export.hardware import hardware_json
from codesign.export.readme import readme
from codesign.export.scalesim_files import scalesim_files
from codesign.export.schema import design_schema
from codesign.files import write_atomic
from codesign.integer import replay
from codesign.integer.model import IntegerModel, pack_npz
from costmodels.board import load_board
from costmodels.engines import place
from costmodels.estimate import Cost
from costmodels.workload import Workload

Say = Callable[[str], None]


@dataclass(frozen=True)
class Shipment:
    """What goes into a bundle.

    Attributes:
        title: What it is, for the README, for example "trial 12 of study mobilevit_mixed".
        model: The integer model that was scored.
        design: The design it belongs to.
        cost: What the cost models say of the design.
        workload: What its network asks of hardware.
        validation: The images it was scored on.
        accuracy: Its accuracy there, a fraction.
        metrics: Further metrics of the trial, written into cost.json.
    """

    title: str
    model: IntegerModel
    design: Design
    cost: Cost
    workload: Workload
    validation: Split
    accuracy: float
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class BundleSummary:
    """What was written and verified.

    Attributes:
        path: The folder.
        size_kb: Size of its files in kB.
        nodes: Nodes of the integer model, each compared in every code.
        golden_images: Images of the golden vectors.
        correct: Validation images classified correctly by the model read back from the files.
        images: Validation images.
    """

    path: Path
    size_kb: float
    nodes: int
    golden_images: int
    correct: int
    images: int


def write_bundle(
    shipment: Shipment, out: Path, *, golden: int = 8, say: Say = lambda line: None
) -> BundleSummary:
    """Write a bundle, verified; the target appears complete or not at all.

    The same shipment gives the same bytes. An existing bundle at the target is replaced when the
    new one is complete.

    Args:
        shipment: What to write.
        out: The folder to make.
        golden: Images of the golden vectors, at least 1.
        say: Receives a line of progress for each step.

    Raises:
        UserError: The target holds something other than a bundle.
        RunError: A check failed: the replay differs or the accuracy is another than the trial's.
        OSError: The folder cannot be written.
    """
    if golden < 1:
        raise UserError(f"golden={golden}: a bundle needs at least 1 golden image.")
    _check_target(out)
    with _folder_beside(out) as folder:
        say(f"computing golden vectors of {min(golden, len(shipment.validation))} images")
        vectors = golden_vectors(shipment.model, shipment.validation, golden)
        say("writing the files")
        for name, content in bundle_files(shipment, vectors).items():
            write_atomic(folder / name, content)
        say("replaying every node with verify.py")
        replay_bundle(folder)
        say(f"scoring the written files on {len(shipment.validation)} validation images")
        score = rescore_bundle(folder, shipment.validation, shipment.accuracy)
        write_atomic(folder / MANIFEST, manifest(folder))
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        _put_in_place(folder, out)
    nodes, images = len(shipment.model.nodes), len(vectors.images)
    return BundleSummary(out, size / 1024, nodes, images, score.correct, score.images)


def bundle_files(shipment: Shipment, golden: Golden) -> dict[str, str | bytes]:
    """Return path to content of every file of a bundle but the manifest."""
    s = shipment
    accelerator = s.design.accelerator
    placements, _ = place(s.workload, accelerator, load_board(accelerator.board).dsp_type)
    hardware = hardware_json(s.model, accelerator, s.cost, s.workload)
    cost = {**s.cost.to_json(), "trial_metrics": dict(s.metrics)}
    simulation = scalesim_files(accelerator, placements, s.model.name)
    return {
        "design.json": json.dumps(s.design.to_json(), indent=1) + "\n",  # layers in graph order
        "design.schema.json": _json(design_schema()),
        "hardware.json": _json(hardware),
        "cost.json": _json(cost),
        "graph.json": _json(s.model.graph_json()),
        "weights.npz": pack_npz(s.model.tensors),
        "golden/golden.npz": pack_npz(golden.codes),
        "golden/images.npz": pack_npz(golden.image_arrays()),
        "verify.py": Path(replay.__file__).read_bytes(),
        **simulation,
        "README.md": readme(s.title, s.model, s.accuracy, hardware, s.cost, golden, simulation),
    }


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n"


def _check_target(out: Path) -> None:
    if out.is_dir() and (out / MANIFEST).is_file():
        known = listed_files(out)
        present = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
        if present - known:
            raise UserError(
                f"{out} holds {sorted(present - known)[0]}, which is not part of the bundle there:"
                " move it away or give another out=."
            )
    elif out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"{out} is not an export bundle: give another out=, or empty it.")


@contextmanager
def _folder_beside(out: Path) -> Iterator[Path]:
    """Make a folder in the target's parent; remove it if it is still there at the end."""
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=out.absolute().parent, prefix=f".{out.name}."))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _put_in_place(folder: Path, out: Path) -> None:
    """Rename a finished folder to the target; what was there is removed afterwards."""
    if not out.exists():
        os.rename(folder, out)
        return
    with _folder_beside(out) as old:
        os.rename(out, old / "old")
        try:
            os.rename(folder, out)
        except BaseException:
            os.rename(old / "old", out)
            raise
