"""Every executor of an integer model behind one signature, and where two of them differ."""

import json
import runpy
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from codesign.export.onnx_integer import OnnxExecutor, integer_onnx
from codesign.integer import replay
from codesign.integer.model import IntegerModel, pack_npz
from codesign.integer.torch_executor import TorchExecutor

Values = dict[str, NDArray[Any]]
Run = Callable[[NDArray[np.int64]], Values]
"""Takes a batch of input codes and returns every node's codes."""
EXECUTORS: dict[str, Callable[[IntegerModel, Path], Run]] = {}
"""Name to what makes an executor ready: for a model, with an empty folder for files."""
REFERENCE = "numpy"


def executor(make):
    """File a function under its name."""
    EXECUTORS[make.__name__] = make
    return make


@executor
def numpy(model: IntegerModel, folder: Path) -> Run:
    """The NumPy executor on the model in memory."""
    graph = model.graph_json()

    def run(codes):
        values: Values = {}
        replay.run(graph, dict(model.tensors), codes, values)
        return values

    return run


@executor
def torch_cpu(model: IntegerModel, folder: Path, device: str = "cpu") -> Run:
    """The torch executor."""
    prepared = TorchExecutor(model, device)

    def run(codes):
        values: dict[str, torch.Tensor] = {}
        prepared.run(torch.from_numpy(codes), values)
        return {name: value.double().cpu().numpy() for name, value in values.items()}

    return run


if torch.cuda.is_available():
    EXECUTORS["torch_cuda"] = partial(torch_cpu, device="cuda")


@executor
def verify(model: IntegerModel, folder: Path) -> Run:
    """A copy of the NumPy executor, run from a file on files, as a bundle's verify.py is."""
    (folder / "graph.json").write_text(json.dumps(model.graph_json()))
    (folder / "weights.npz").write_bytes(pack_npz(dict(model.tensors)))
    (folder / "verify.py").write_bytes(Path(replay.__file__).read_bytes())
    return bundle_replay(folder)


@executor
def onnx(model: IntegerModel, folder: Path) -> Run:
    """ONNX Runtime, with its default optimisation, on the integer ONNX graph."""
    prepared = OnnxExecutor(integer_onnx(model, every_node=True))

    def run(codes):
        values: Values = {}
        logits = prepared.run(codes, keep=values)
        np.testing.assert_array_equal(logits, values[model.nodes[-1].name])
        return values

    return run


def onnx_file(path: Path) -> Callable[[NDArray[np.int64]], NDArray[np.int64]]:
    """Return what gives the logits of input codes by a bundle's model.integer.onnx."""
    return OnnxExecutor(path).run


def bundle_replay(folder: Path) -> Run:
    """Return what runs a folder's own verify.py on its graph.json and weights.npz."""
    module = runpy.run_path(str(folder / "verify.py"))
    graph = json.loads((folder / "graph.json").read_text())
    with np.load(folder / "weights.npz", allow_pickle=False) as file:
        tensors = {key: file[key] for key in file.files}

    def run(codes):
        values: Values = {}
        module["run"](graph, tensors, codes, values)
        return values

    return run


def differing(expected: Mapping[str, Any], got: Mapping[str, Any]) -> int:
    """Return how many integers differ; a tensor of another shape, or none, counts in full."""
    total = 0
    for name, values in expected.items():
        other = got.get(name)
        same_shape = other is not None and other.shape == values.shape
        total += int((values != other).sum()) if same_shape else values.size
    return total


def first_difference(expected: Mapping[str, Any], got: Mapping[str, Any]) -> str:
    """Return node, index, expected and got of the first integer that differs, or ""."""
    for name, values in expected.items():
        other = got.get(name)
        if other is None or other.shape != values.shape:
            return (
                f"node {name}: shape {values.shape} expected, got {getattr(other, 'shape', None)}"
            )
        for index in np.argwhere(values != other)[:1]:
            at = tuple(int(i) for i in index)
            return f"node {name} at {at}: expected {values[at]:g}, got {other[at]:g}"
    return ""
