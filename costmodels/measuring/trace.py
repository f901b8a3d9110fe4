"""The kernels of a PyTorch model, seen by running it once: a Workload without the captured graph.

Each operator that computes is an operation, in order; views are none. What is no product, norm,
softmax or pool is element-wise work under the operator's own name, so nothing is left out; where it
reads other strides than it writes, which no kernel does at full speed, it is "strided". Operands in
floating point are 16 bits wide, whatever their type: wider than codes.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from costmodels.workload import MatrixLayer, VectorOperation, Workload

_NORMS = {"native_layer_norm": "layer_norm", "_fused_rms_norm": "rms_norm"}
_NORMS |= {"native_group_norm": "group_norm"}
_BATCH_NORMS = {"native_batch_norm", "cudnn_batch_norm", "batch_norm"}
_BATCH_NORMS |= {"_native_batch_norm_legit_no_training"}
_POOLS = {"mean", "sum", "_adaptive_avg_pool2d", "amax"}
_WINDOWS = {"avg_pool2d": "avg_pool", "max_pool2d_with_indices": "max_pool"}
_COPIES = {"clone", "copy", "_to_copy", "contiguous", "constant_pad_nd"}
_ACTIVATIONS = {"hardswish": "hardswish", "relu": "relu", "hardtanh": "relu6", "clamp": "clip"}
_ACTIVATIONS |= {"clamp_min": "relu", "hardsigmoid": "hardsigmoid"}
_FUSABLE = {*_ACTIVATIONS, "gelu", "silu", "sigmoid"}
_PRODUCTS = {"mm": 0, "_int_mm": 0, "linear": 0, "addmm": 1}
_BATCHED = {"bmm": 0, "baddbmm": 1}
_ALLOCATES = {"empty", "empty_like", "new_empty", "empty_strided", "zeros", "arange", "full"}
_ALLOCATES |= {"zeros_like", "ones", "scalar_tensor", "lift_fresh", "detach", "_unsafe_view"}
_ALLOCATES |= {"as_strided"}
_FLOAT_BITS = 16

Operation = MatrixLayer | VectorOperation


def trace(
    model: torch.nn.Module, image: torch.Tensor, name: str, *, add_biases: bool = False
) -> Workload:
    """Return the operators that a model runs on one image as a workload.

    Args:
        model: A model in evaluation mode.
        image: Input of shape (1, channels, height, width) on the model's device.
        name: Name of the workload.
        add_biases: Whether a convolution's bias is added by a kernel of its own, as cuDNN's is.
    """
    recorder = Recorder(add_biases)
    with torch.no_grad(), recorder:
        model(image)
    return Workload(name, tuple(recorder.operations), 0)


class Recorder(TorchDispatchMode):
    """Turns every operator that runs under it into operations of a workload."""

    def __init__(self, add_biases: bool = False) -> None:
        super().__init__()
        self.add_biases = add_biases
        self.operations: list[Operation] = []
        self.kept: list[Any] = []  # tensors alive, so that no address is used twice
        self.layer_of: dict[int, str] = {}

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operator and record what it is."""
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__.rstrip("_") if not func.is_view else ""
        if name and name not in _ALLOCATES:
            tensors = [arg for arg in args if isinstance(arg, torch.Tensor)]
            first = result[0] if isinstance(result, tuple | list) else result
            if isinstance(first, torch.Tensor):
                before = len(self.operations)
                self._record(name, f"{before}.{name}", args, tensors, first)
                self.recorded(func, args, kwargs or {}, self.operations[before:])
        self.kept.append(result)
        return result

    def recorded(
        self,
        func: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        operations: Sequence[Operation],
    ) -> None:
        """Take note of a call and the operations that it is; nothing to do for a workload."""

    def _record(
        self,
        name: str,
        label: str,
        args: Sequence[Any],
        tensors: list[torch.Tensor],
        result: torch.Tensor,
    ) -> None:
        if name in _PRODUCTS or name in _BATCHED:
            first = _PRODUCTS.get(name, _BATCHED.get(name, 0))
            self._product(label, tensors[first], result, name in _BATCHED)
        elif name == "convolution":
            self._convolution(label, args, result)
        elif name.startswith("_scaled_dot_product"):
            self._attention(label, tensors[0], tensors[1])
        else:
            self._vector(name, label, tensors, result)

    def _product(self, label: str, left: torch.Tensor, result: torch.Tensor, batched: bool) -> None:
        m, n = result.shape[-2:]
        k, repeats = left.shape[-1], math.prod(result.shape[:-2])
        kind = "matmul" if batched else "linear"
        sizes = (m, k, n) if batched else (m * repeats, k, n)
        self.operations.append(product_layer(label, kind, sizes, repeats if batched else 1))
        self.layer_of[_address(result)] = label

    def _attention(self, label: str, query: torch.Tensor, key: torch.Tensor) -> None:
        *lead, tokens, head = query.shape
        keys, repeats = key.shape[-2], math.prod(lead)
        scores = repeats * tokens * keys
        self.operations += [
            product_layer(f"{label}.qk", "matmul", (tokens, head, keys), repeats),
            VectorOperation(f"{label}.softmax", "softmax", scores, keys, _FLOAT_BITS, _FLOAT_BITS),
            product_layer(f"{label}.av", "matmul", (tokens, keys, head), repeats),
        ]

    def _convolution(self, label: str, args: Sequence[Any], result: torch.Tensor) -> None:
        image, weight, groups = args[0], args[1], args[8]
        outputs, k = weight.shape[0], weight[0].numel()
        kind = "depthwise" if groups == image.shape[1] == outputs and groups > 1 else "conv"
        m, sizes = result.numel() // outputs, (image.numel(), result.numel(), weight.numel())
        layer = MatrixLayer(
            label,
            kind,
            m,
            k,
            outputs // groups,
            groups,
            _FLOAT_BITS,
            "uniform",
            _FLOAT_BITS,
            _FLOAT_BITS,
            *sizes,
            kernel_height=weight.shape[-2],
            kernel_width=weight.shape[-1],
            stride_height=args[3][0],
            stride_width=args[3][-1],
            in_channels=image.shape[1],
            out_channels=outputs,
        )
        self.operations.append(layer)
        self.layer_of[_address(result)] = label
        if self.add_biases and args[2] is not None:
            self.operations.append(element_wise(f"{label}.bias", "strided", result.numel()))

    def _vector(
        self, name: str, label: str, tensors: list[torch.Tensor], result: torch.Tensor
    ) -> None:
        function, count, row = _function(name, tensors, result), result.numel(), 1
        fused = self.layer_of.get(_address(tensors[0])) if tensors else None
        if name in _NORMS:
            groups = result.shape[1] if name == "native_group_norm" else 0
            row = count // (result.shape[0] * groups) if groups else result.shape[-1]
        elif name == "_softmax":
            function, row = "row_softmax", result.shape[-1]  # its scores come from memory
        elif function in ("pool", "avg_pool", "max_pool"):
            count = tensors[0].numel()
            row = max(1, count // max(1, result.numel()))
        fused = fused if name in _FUSABLE else None
        self.operations.append(element_wise(label, function, count, row, fused))


def product_layer(
    label: str,
    kind: str,
    sizes: tuple[int, int, int],
    repeats: int = 1,
    *,
    bits: int = _FLOAT_BITS,
    output_bits: int | None = None,
) -> MatrixLayer:
    """Return `repeats` products of (m, k, n) of operands of `bits` bits."""
    m, k, n = sizes
    moved = (repeats * m * k, repeats * m * n, repeats * k * n)
    widths = (bits, "uniform", bits, output_bits or bits)
    return MatrixLayer(label, kind, m, k, n, repeats, *widths, *moved)


def element_wise(
    label: str,
    function: str,
    count: int,
    row: int = 1,
    fused: str | None = None,
    *,
    input_bits: int = _FLOAT_BITS,
    output_bits: int = _FLOAT_BITS,
) -> VectorOperation:
    """Return element-wise or row-wise work, in floating point unless bits say otherwise."""
    return VectorOperation(label, function, max(1, count), row, input_bits, output_bits, fused)


def attention_on_codes(label: str, repeats: int, tokens: int, head: int) -> list[Operation]:
    """Return attention of `repeats` windows and heads over `tokens` of `head` INT8 codes."""
    scores = repeats * tokens * tokens
    return [
        product_layer(f"{label}.qk", "matmul", (tokens, head, tokens), repeats, bits=8),
        VectorOperation(f"{label}.softmax", "softmax", scores, tokens, 8, 8),
        product_layer(f"{label}.av", "matmul", (tokens, tokens, head), repeats, bits=8),
    ]


def _function(name: str, tensors: list[torch.Tensor], result: torch.Tensor) -> str:
    """Return what an element-wise operator, norm or pool is called in a workload."""
    if name in _NORMS or name in _BATCH_NORMS:
        return _NORMS.get(name, "batch_norm")
    if name in _WINDOWS or (name in _POOLS and tensors):
        return _WINDOWS.get(name, "pool")
    if name in ("cat", "roll"):
        return name
    full = sum(tensor.shape == result.shape for tensor in tensors)
    if not all(_alike(tensor, result) for tensor in tensors):
        return "strided_pair" if full == 2 and name not in _COPIES else "strided"
    if name in ("add", "mul", "div", "sub"):
        pair = {"add": "add", "sub": "add", "mul": "mul", "div": "divide"}
        return pair[name] if full == 2 else "affine"
    return "copy" if name in _COPIES else _ACTIVATIONS.get(name, name)


def _alike(tensor: torch.Tensor, result: torch.Tensor) -> bool:
    """Return whether a kernel reads a tensor in the order in which it writes the result."""
    if tensor.numel() == 1:
        return True
    if tensor.shape != result.shape:
        return False
    steps = zip(tensor.shape, tensor.stride(), result.stride(), strict=True)
    return all(mine == other for n, mine, other in steps if n > 1) and _filled(result)


def _filled(tensor: torch.Tensor) -> bool:
    """Return whether a tensor's elements fill its storage, in whatever order of axes."""
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    return tensor.numel() == 1 + sum((n - 1) * step for n, step in steps)


def _address(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
