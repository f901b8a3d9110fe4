"""The kernels of a PyTorch model, seen by running it once: a Workload without the captured graph.

Each operator that computes is an operation, in order; views are none. What is no product, norm,
softmax or pool is element-wise work under the operator's own name, so nothing is left out.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from costmodels.workload import MatrixLayer, VectorOperation, Workload

_NORMS = {"native_layer_norm", "native_group_norm", "native_batch_norm", "cudnn_batch_norm"}
_NORMS |= {"_native_batch_norm_legit_no_training", "batch_norm", "_fused_rms_norm"}
_POOLS = {"mean", "sum", "avg_pool2d", "_adaptive_avg_pool2d", "amax"}
_ACTIVATIONS = {"gelu": "table", "silu": "table", "sigmoid": "table", "hardswish": "hardswish"}
_ACTIVATIONS |= {"relu": "relu", "hardtanh": "relu6", "clamp": "clip", "hardsigmoid": "hardsigmoid"}
_PRODUCTS = {"mm": 0, "_int_mm": 0, "linear": 0, "addmm": 1}
_BATCHED = {"bmm": 0, "baddbmm": 1}
_ALLOCATES = {"empty", "empty_like", "new_empty", "empty_strided", "zeros", "arange", "full"}
_ALLOCATES |= {"zeros_like", "ones", "scalar_tensor", "lift_fresh", "detach", "_unsafe_view"}


def trace(model: torch.nn.Module, image: torch.Tensor, name: str) -> Workload:
    """Return the operators that a model runs on one image as a workload.

    Args:
        model: A model in evaluation mode.
        image: Input of shape (1, channels, height, width) on the model's device.
        name: Name of the workload.
    """
    recorder = _Recorder()
    with torch.no_grad(), recorder:
        model(image)
    return Workload(name, tuple(recorder.operations), 0)


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.operations: list[MatrixLayer | VectorOperation] = []
        self.kept: list[Any] = []  # tensors alive, so that no address is used twice
        self.layer_of: dict[int, str] = {}

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__.rstrip("_") if not func.is_view else ""
        if name and name not in _ALLOCATES:
            tensors = [arg for arg in args if isinstance(arg, torch.Tensor)]
            first = result[0] if isinstance(result, tuple | list) else result
            if isinstance(first, torch.Tensor):
                self.record(name, f"{len(self.operations)}.{name}", args, tensors, first)
        self.kept.append(result)
        return result

    def record(
        self,
        name: str,
        label: str,
        args: Sequence[Any],
        tensors: list[torch.Tensor],
        result: torch.Tensor,
    ) -> None:
        if name in _PRODUCTS or name in _BATCHED:
            first = _PRODUCTS.get(name, _BATCHED.get(name, 0))
            self.product(label, tensors[first], result, name in _BATCHED)
        elif name == "convolution":
            self.convolution(label, args, result)
        elif name.startswith("_scaled_dot_product"):
            self.attention(label, tensors[0], tensors[1])
        else:
            self.vector(name, label, tensors, result)

    def product(self, label: str, left: torch.Tensor, result: torch.Tensor, batched: bool) -> None:
        m, n = result.shape[-2:]
        k, repeats = left.shape[-1], math.prod(result.shape[:-2])
        kind = "matmul" if batched else "linear"
        self.add_layer(label, kind, (m if batched else m * repeats, k, n), repeats, batched, result)

    def add_layer(
        self,
        label: str,
        kind: str,
        sizes: tuple[int, int, int],
        repeats: int,
        batched: bool,
        result: torch.Tensor | None,
    ) -> None:
        m, k, n = sizes
        repeats = repeats if batched else 1
        moved = (repeats * m * k, repeats * m * n, repeats * k * n)
        self.operations.append(
            MatrixLayer(label, kind, m, k, n, repeats, 8, "uniform", 8, 8, *moved)
        )
        if result is not None:
            self.layer_of[_address(result)] = label

    def attention(self, label: str, query: torch.Tensor, key: torch.Tensor) -> None:
        *lead, tokens, head = query.shape
        keys, repeats = key.shape[-2], math.prod(lead)
        scores = repeats * tokens * keys
        self.add_layer(f"{label}.qk", "matmul", (tokens, head, keys), repeats, True, None)
        self.operations.append(VectorOperation(f"{label}.softmax", "softmax", scores, keys))
        self.add_layer(f"{label}.av", "matmul", (tokens, keys, head), repeats, True, None)

    def convolution(self, label: str, args: Sequence[Any], result: torch.Tensor) -> None:
        image, weight, groups = args[0], args[1], args[8]
        outputs, k = weight.shape[0], weight[0].numel()
        kind = "depthwise" if groups == image.shape[1] == outputs and groups > 1 else "conv"
        m, sizes = result.numel() // outputs, (image.numel(), result.numel(), weight.numel())
        layer = MatrixLayer(
            label, kind, m, k, outputs // groups, groups, 8, "uniform", 8, 8, *sizes
        )
        self.operations.append(layer)
        self.layer_of[_address(result)] = label

    def vector(
        self, name: str, label: str, tensors: list[torch.Tensor], result: torch.Tensor
    ) -> None:
        function, count, row = _ACTIVATIONS.get(name, name), result.numel(), 1
        large = [tensor for tensor in tensors if tensor.numel() == count]
        fused = self.layer_of.get(_address(tensors[0])) if tensors else None
        if name in _NORMS:
            function, row = "layer_norm", result.shape[-1] if result.ndim else 1
        elif name == "_softmax":
            function, row = "row_softmax", result.shape[-1]  # its scores come from memory
        elif name in _POOLS and tensors:
            function, count = "pool", tensors[0].numel()
            row = max(1, count // max(1, result.numel()))
        elif name == "max_pool2d_with_indices":
            function, count = "max_pool", tensors[0].numel()
            row = max(1, count // result.numel())
        elif name in ("add", "mul", "div", "sub"):
            pair = {"add": "add", "sub": "add", "mul": "mul", "div": "divide"}
            function = pair[name] if len(large) == 2 else "affine"
        fused = fused if name in _ACTIVATIONS else None
        self.operations.append(VectorOperation(label, function, max(1, count), row, 8, 8, fused))


def _address(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
