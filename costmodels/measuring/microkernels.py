"""Micro-kernels: single launches whose work is known, to fit a profile to."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from costmodels.gpu.kernel import Gemm, Kernel

BYTES = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1}
TYPES = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "int8": torch.int8,
}

# Rows, reduction and columns of vision networks' layers, from Swin's and MobileViT's to ViT-L's.
_ROWS = (49, 197, 784, 3136, 12544)
_DEPTHS_COLUMNS = (
    (64, 192),
    (96, 384),
    (192, 192),
    (384, 1152),
    (768, 768),
    (768, 3072),
    (4096, 4096),
)
_WINDOWS = ((192, 49, 32), (768, 64, 32), (24, 197, 64), (512, 256, 16))
_ELEMENTS = tuple(4**power for power in range(5, 14))
_ROW_LENGTHS = (96, 384, 1024)


@dataclass(frozen=True)
class MicroKernel:
    """One launch to time.

    Attributes:
        name: Kind, sizes and precision.
        kernel: Its work, as the roofline sees it.
        build: Returns the call to time, its operands on a device.
    """

    name: str
    kernel: Kernel
    build: Callable[[torch.device], Callable[[], object]]


def micro_kernels(
    precisions: tuple[str, ...], most_macs: float, most_elements: float
) -> list[MicroKernel]:
    """Return products, attention products, element-wise and row-wise kernels.

    Args:
        precisions: Of "fp32", "fp16" and "int8"; the first is that of the kernels without products.
        most_macs: Multiply-accumulates of the largest product.
        most_elements: Elements of the largest tensor.
    """
    found = [
        product(m, k, n, precision)
        for precision in precisions
        for m in _ROWS
        for k, n in _DEPTHS_COLUMNS
        if m * k * n <= most_macs and max(m * k, m * n, k * n) <= most_elements
    ]
    found += [attention(*sizes, precisions[0]) for sizes in _WINDOWS]
    found += [e for e in _elementwise(precisions[0]) if e.kernel.elements <= 3 * most_elements]
    return [k for k in found if sum(gemm.macs for gemm in k.kernel.gemms) <= most_macs]


def product(m: int, k: int, n: int, precision: str) -> MicroKernel:
    """Return a matrix product; an INT8 one leaves 32-bit sums, as torch._int_mm does."""
    width = BYTES[precision]
    kernel = Kernel(
        f"gemm {m}x{k}x{n} {precision}",
        gemms=(Gemm(m, n, k, 1, precision),),
        weight_bytes=k * n * width,
        activation_bytes=m * k * width + m * n * (4 if precision == "int8" else width),
        elements=m * k + m * n,
    )

    def build(device: torch.device) -> Callable[[], object]:
        first, second = _operand((m, k), precision, device), _operand((n, k), precision, device)
        if precision == "int8":
            padded = first if m > 16 else F.pad(first, (0, 0, 0, 17 - m))
            return lambda: torch._int_mm(padded, second.t())
        return lambda: first @ second.t()

    return MicroKernel(kernel.name, kernel, build)


def attention(repeats: int, tokens: int, head: int, precision: str) -> MicroKernel:
    """Return fused attention: `repeats` heads over `tokens` of `head` channels."""
    size, scores = repeats * tokens * head, repeats * tokens * tokens
    kernel = Kernel(
        f"attention {repeats}x{tokens}x{head} {precision}",
        gemms=(
            Gemm(tokens, tokens, head, repeats, precision),
            Gemm(tokens, head, tokens, repeats, precision),
        ),
        activation_bytes=4 * size * BYTES[precision],
        elements=4 * size + scores,
    )

    def build(device: torch.device) -> Callable[[], object]:
        q, k, v = (_operand((1, repeats, tokens, head), precision, device) for _ in range(3))
        return lambda: F.scaled_dot_product_attention(q, k, v)

    return MicroKernel(kernel.name, kernel, build)


def _elementwise(precision: str) -> Iterator[MicroKernel]:
    width = BYTES[precision]
    unary: dict[str, Callable[[torch.Tensor], object]] = {
        "copy": torch.clone,
        "gelu": F.gelu,
        "relu": F.relu,
        "hardswish": F.hardswish,
    }
    for count in _ELEMENTS:
        for name, function in unary.items():
            moved = 2 * count
            kernel = Kernel(f"{name} {count} {precision}", (), 0, 0, moved * width, moved)
            yield MicroKernel(kernel.name, kernel, _caller((count,), precision, function))
        kernel = Kernel(f"add {count} {precision}", (), 0, 0, 3 * count * width, 3 * count)
        yield MicroKernel(kernel.name, kernel, _caller((2, count), precision, _add))
        for length in _ROW_LENGTHS:
            rows = max(1, count // length)
            yield from _rowwise(rows, length, precision)


def _rowwise(rows: int, length: int, precision: str) -> Iterator[MicroKernel]:
    functions: dict[str, Callable[[torch.Tensor], object]] = {
        "layer_norm": lambda x: F.layer_norm(x, (length,)),
        "softmax": lambda x: torch.softmax(x, -1),
    }
    moved = 2 * rows * length
    for name, function in functions.items():
        full = f"{name} {rows}x{length} {precision}"
        kernel = Kernel(full, (), 0, 0, moved * BYTES[precision], moved)
        yield MicroKernel(full, kernel, _caller((rows, length), precision, function))


def _caller(
    shape: tuple[int, ...], precision: str, function: Callable[[torch.Tensor], object]
) -> Callable[[torch.device], Callable[[], object]]:
    def build(device: torch.device) -> Callable[[], object]:
        operand = _operand(shape, precision, device)
        return lambda: function(operand)

    return build


def _add(pair: torch.Tensor) -> torch.Tensor:
    return pair[0] + pair[1]


def _operand(shape: tuple[int, ...], precision: str, device: torch.device) -> Any:
    if precision == "int8":
        return torch.randint(-127, 128, shape, dtype=torch.int8, device=device)
    return torch.randn(shape, device=device).to(TYPES[precision])
