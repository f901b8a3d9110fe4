"""The executors a model may be scored with, by name: torch, numpy, onnxruntime."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from codesign.errors import UserError
from codesign.integer import replay
from codesign.integer.model import IntegerModel
from codesign.integer.torch_executor import TorchExecutor
from codesign.registry import Registry

Run = Callable[[Tensor], Tensor]
"""Input codes (batch, C, H, W) to the logits' codes (batch, classes), whole numbers."""
Prepare = Callable[[IntegerModel, str, bytes | None], Run]
EXECUTORS: Registry[Prepare] = Registry("executor")


def executor(name: str, model: IntegerModel, device: str = "cpu", onnx: bytes | None = None) -> Run:
    """Return the executor of a name, ready to run a model.

    Args:
        name: "torch", "numpy" or "onnxruntime".
        model: The model.
        device: "cpu" or "cuda"; only torch runs on the latter.
        onnx: The model as integer ONNX, which onnxruntime runs.

    Raises:
        UserError: The name is unknown, the executor cannot use the device, or there is no ONNX.
    """
    prepare = EXECUTORS.get(name)
    if device != "cpu" and name != "torch":
        raise UserError(f"executor={name} runs on the cpu only: leave out device={device}.")
    return prepare(model, device, onnx)


@EXECUTORS.register("torch")
def _torch(model: IntegerModel, device: str, onnx: bytes | None) -> Run:
    ready = TorchExecutor(model, device)
    return lambda codes: ready.run(codes).cpu()


@EXECUTORS.register("numpy")
def _numpy(model: IntegerModel, device: str, onnx: bytes | None) -> Run:
    graph, tensors = model.graph_json(), dict(model.tensors)
    return lambda codes: torch.from_numpy(
        replay.run(graph, tensors, codes.numpy().astype(np.int64))
    )


@EXECUTORS.register("onnxruntime")
def _onnxruntime(model: IntegerModel, device: str, onnx: bytes | None) -> Run:
    import onnxruntime

    if onnx is None:
        raise UserError("executor=onnxruntime needs a bundle with model.integer.onnx.")
    try:
        session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has no common class of errors
        raise UserError(f"model.integer.onnx cannot be loaded: {error}") from error
    (source,) = session.get_inputs()
    kind: Any = {"tensor(uint8)": np.uint8, "tensor(int8)": np.int8}.get(source.type, np.int16)

    def run(codes: Tensor) -> Tensor:
        (logits,) = session.run(None, {source.name: codes.numpy().astype(kind)})
        return torch.from_numpy(logits.astype(np.int64))

    return run
