"""Checks that run the network: each executor on the golden inputs, every integer compared."""

import subprocess
import sys

import numpy as np
import torch

from codesign.bundle.files import member
from codesign.bundle.manifest import manifest
from codesign.integer import replay
from codesign.integer.torch_executor import TorchExecutor
from codesign.verify.compare import Integers, difference, first_difference
from codesign.verify.opened import GOLDEN, IMAGES, Opened
from codesign.verify.registry import MismatchError, check, report


@check("verify.py")
def own_script(opened: Opened) -> str:
    """Run the bundle's own verify.py in a fresh, isolated process; it must not change a file."""
    script = member(opened.folder, "verify.py").name
    before = manifest(opened.folder)
    done = subprocess.run(
        [sys.executable, "-I", "-B", script],
        cwd=opened.folder,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    lines = (done.stdout + done.stderr).strip().splitlines()
    last = lines[-1] if lines else "no output"
    if done.returncode:
        raise MismatchError(f"verify.py: {last}")
    if manifest(opened.folder) != before:
        raise MismatchError("verify.py changed files of the bundle")
    return last


@check("images")
def golden_images(opened: Opened) -> str:
    """The golden images give the golden input codes, the golden logits the expected classes."""
    images, classes = opened.images["images"], opened.images["expected_classes"]
    pairs = {
        "images": (opened.input_codes, opened.model.quantize_input(images)),
        "expected_classes": (classes, opened.logits.argmax(axis=1)),
    }
    faults = [difference(f"{IMAGES} {key}", *pair) for key, pair in pairs.items()]
    count = len(images)
    faults += [
        f"{IMAGES} {key}: {len(opened.images[key])} entries for {count} images"
        for key in ("labels", "indices")
        if opened.images[key].shape != (count,)
    ]
    report(*faults)
    return f"{count} images give the golden input codes, the logits their classes"


@check("torch")
def torch_executor(opened: Opened) -> str:
    """The torch executor gives the golden codes in every node."""
    kept: dict[str, torch.Tensor] = {}
    TorchExecutor(opened.model).run(torch.from_numpy(opened.input_codes), keep=kept)
    codes = {name: value.numpy().astype(np.int64) for name, value in kept.items()}
    return _every_node(opened, codes)


@check("numpy")
def numpy_executor(opened: Opened) -> str:
    """The NumPy executor, in this process, gives the golden codes in every node."""
    kept: dict[str, Integers] = {}
    model = opened.model
    replay.run(model.graph_json(), dict(model.tensors), opened.input_codes, keep=kept)
    return _every_node(opened, kept)


def _every_node(opened: Opened, computed: dict[str, Integers]) -> str:
    golden = opened.golden
    report(first_difference(GOLDEN, golden, golden, computed))
    total = sum(codes.size for codes in golden.values())
    return f"{total:,} integers of {len(golden)} nodes equal the golden ones"
