"""Micro-kernels: single launches whose work is known, to fit a profile to."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from costmodels.gpu.kernel import Kernel
from costmodels.gpu.launch import kernels
from costmodels.measuring.int8_kernels import choose_kernels
from costmodels.measuring.runtime import TORCH
from costmodels.measuring.stages import Norm, OutputStage, Windows
from costmodels.measuring.trace import (
    Operation,
    attention_on_codes,
    element_wise,
    product_layer,
)
from costmodels.workload import Workload

TYPES = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "int8": torch.int8,
}

# Rows, reduction and columns of vision networks' layers, from Swin's and MobileViT's to ViT-L's,
# for batches of 1 to 64.
_ROWS = (49, 197, 784, 3136, 12544, 50176, 200704)
_DEPTHS_COLUMNS = (
    (64, 192),
    (96, 288),
    (96, 384),
    (384, 96),
    (192, 192),
    (192, 768),
    (384, 1152),
    (384, 1536),
    (768, 768),
    (768, 3072),
    (3072, 768),
    (4096, 4096),
)
# Rows, reduction and columns of products that repeat, by head, by window and by image.
_REPEATED = (
    (49, 32, 49),
    (49, 49, 32),
    (197, 64, 197),
    (197, 197, 64),
    (64, 32, 64),
    (64, 64, 64),
    (256, 24, 256),
    (256, 256, 24),
)
_REPEATS = (3, 24, 192, 1536, 6144)
# Repeats, tokens and channels of a head.
_ATTENTIONS = (
    (3, 197, 64),
    (12, 197, 64),
    (96, 197, 64),
    (384, 197, 64),
    (192, 49, 32),
    (1536, 49, 32),
    (6144, 49, 32),
    (512, 256, 16),
    (64, 64, 24),
    (16, 256, 20),
    (128, 256, 24),
    (16, 1024, 32),
    (32, 1024, 64),
)
# Windows, tokens of a window, heads and channels of a head, of Swin's stages at batches of 1 to 32.
_WINDOWS = tuple(
    (batch * windows, 49, heads, 32)
    for batch in (1, 8, 32)
    for windows, heads in ((64, 3), (16, 6), (4, 12), (1, 24), (64, 4))
)
_ELEMENTS = tuple(4**power for power in range(5, 14)) + tuple(2 * 4**p for p in range(9, 13))
_ROW_LENGTHS = (48, 96, 197, 384, 768, 1024)


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
    """Return products, attention, element-wise and row-wise kernels, of models' sizes.

    Args:
        precisions: Of "fp32", "fp16" and "int8"; the first is that of the kernels without products.
        most_macs: Multiply-accumulates of the largest product.
        most_elements: Elements of the largest operand or result.
    """
    floating = precisions[0]
    found = [
        product(m, k, n, precision)
        for precision in precisions
        for m in _ROWS
        for k, n in _DEPTHS_COLUMNS
        if max(m * k, m * n, k * n) <= most_elements
    ]
    found += [
        repeated_product(repeats, sizes, floating)
        for sizes in _REPEATED
        for repeats in _REPEATS
        if repeats * max(sizes) ** 2 <= most_elements
    ]
    found += [attention(*sizes, floating) for sizes in _ATTENTIONS]
    counts = [count for count in _ELEMENTS if count <= most_elements]
    found += [kernel for count in counts for kernel in _without_products(count, floating)]
    if "int8" in precisions:
        found += [kernel for count in counts for kernel in _on_codes(count, floating)]
        found += [window_attention(*sizes) for sizes in _WINDOWS]
    return [k for k in found if sum(gemm.macs for gemm in k.kernel.gemms) <= most_macs]


def product(m: int, k: int, n: int, precision: str) -> MicroKernel:
    """Return a linear layer, (m, k) times (k, n); an INT8 one takes and gives codes."""
    bits = 8 if precision == "int8" else 16
    layer = product_layer("product", "linear", (m, k, n), bits=bits)

    def build(device: torch.device) -> Callable[[], object]:
        first, second = _operand((m, k), precision, device), _operand((n, k), precision, device)
        if precision == "int8":
            int8, one = choose_kernels("auto", device), torch.ones(n, device=device)
            stage = OutputStage(output_scale=1.0)
            return lambda: int8.linear(first, second, one, one, stage)
        bias = _operand((n,), precision, device)
        return lambda: F.linear(first, second, bias)

    return _micro(f"product {m}x{k}x{n} {precision}", [layer], precision, build)


def repeated_product(repeats: int, sizes: tuple[int, int, int], precision: str) -> MicroKernel:
    """Return `repeats` products of the sizes (m, k, n)."""
    layer = product_layer("products", "matmul", sizes, repeats)
    m, k, n = sizes

    def build(device: torch.device) -> Callable[[], object]:
        first = _operand((repeats, m, k), precision, device)
        second = _operand((repeats, k, n), precision, device)
        return lambda: torch.bmm(first, second)

    return _micro(f"products {repeats}x{m}x{k}x{n} {precision}", [layer], precision, build)


def attention(repeats: int, tokens: int, head: int, precision: str) -> MicroKernel:
    """Return fused attention: `repeats` heads over `tokens` of `head` channels."""
    operations: list[Operation] = [
        product_layer("scores", "matmul", (tokens, head, tokens), repeats),
        element_wise("softmax", "softmax", repeats * tokens * tokens, tokens),
        product_layer("values", "matmul", (tokens, tokens, head), repeats),
    ]

    def build(device: torch.device) -> Callable[[], object]:
        q, k, v = (_operand((1, repeats, tokens, head), precision, device) for _ in range(3))
        return lambda: F.scaled_dot_product_attention(q, k, v)

    return _micro(f"attention {repeats}x{tokens}x{head} {precision}", operations, precision, build)


def _without_products(count: int, precision: str) -> Iterator[MicroKernel]:
    unary: dict[str, Callable[[torch.Tensor], object]] = {
        "copy": torch.clone,
        "gelu": F.gelu,
        "silu": F.silu,
        "sigmoid": torch.sigmoid,
        "relu": F.relu,
        "relu6": F.relu6,
        "hardswish": F.hardswish,
    }
    for name, function in unary.items():
        yield _element_wise(name, (count,), precision, function)
    yield _element_wise("add", (2, count), precision, lambda pair: pair[0] + pair[1])
    yield _element_wise("mul", (2, count), precision, lambda pair: pair[0] * pair[1])
    turned = (max(1, count // 64), 64)
    yield _element_wise("strided", turned, precision, lambda x: x.t().contiguous())
    for length in _ROW_LENGTHS:
        yield from _row_wise(max(1, count // length), length, precision)


def _element_wise(
    name: str, shape: tuple[int, ...], precision: str, function: Callable[[torch.Tensor], object]
) -> MicroKernel:
    pair = name in ("add", "mul")
    count = shape[-1] if pair else torch.Size(shape).numel()
    title = f"{name} {count} {precision}"
    return _micro(
        title, [element_wise(name, name, count)], precision, _on(shape, precision, function)
    )


def _row_wise(rows: int, length: int, precision: str) -> Iterator[MicroKernel]:
    functions: dict[str, Callable[[torch.Tensor], object]] = {
        "layer_norm": lambda x: F.layer_norm(x, (length,)),
        "row_softmax": lambda x: torch.softmax(x, -1),
    }
    for name, function in functions.items():
        operation = element_wise(name, name, rows * length, length)
        build = _on((rows, length), precision, function)
        yield _micro(f"{name} {rows}x{length} {precision}", [operation], precision, build)


def _on_codes(count: int, precision: str) -> Iterator[MicroKernel]:
    """Return a quantiser and a table of a function: what an INT8 network has besides."""

    def quantizer(device: torch.device) -> Callable[[], object]:
        int8, values = choose_kernels("auto", device), _operand((count,), precision, device)
        return lambda: int8.quantize(values, 0.1)

    def table(device: torch.device) -> Callable[[], object]:
        int8, codes = choose_kernels("auto", device), _operand((count,), "int8", device)
        entries = _operand((256,), "int8", device)
        return lambda: int8.look_up(codes, entries)

    wide = element_wise("quantize", "quantize", count, output_bits=8)
    yield _micro(f"quantize {count} int8", [wide], "int8", quantizer)
    narrow = element_wise("table", "table", count, input_bits=8, output_bits=8)
    yield _micro(f"table {count} int8", [narrow], "int8", table)
    for length in _ROW_LENGTHS:
        yield _norm_to_codes(max(1, count // length), length, precision)


def _norm_to_codes(rows: int, length: int, precision: str) -> MicroKernel:
    def build(device: torch.device) -> Callable[[], object]:
        int8, values = choose_kernels("auto", device), _operand((rows, length), precision, device)
        factor, offset = (_operand((length,), precision, device) for _ in range(2))
        return lambda: int8.layer_norm(values, Norm(factor, offset, 1e-5, 0.05))

    norm = element_wise("row_norm", "row_norm", rows * length, length, output_bits=8)
    return _micro(f"row_norm {rows}x{length} int8", [norm], "int8", build)


def window_attention(windows: int, tokens: int, heads: int, head: int) -> MicroKernel:
    """Return attention within windows on INT8 codes."""
    operations = attention_on_codes("attention", windows * heads, tokens, head)

    def build(device: torch.device) -> Callable[[], object]:
        int8, tile = choose_kernels("auto", device), max(16, 1 << (tokens - 1).bit_length())
        codes = _operand((windows * tokens, 3 * heads * head), "int8", device)
        bias = torch.zeros(heads, tile, tile, device=device)
        bias[:, :, tokens:] = -30000
        within = Windows(bias, None, tokens, 1e-4, 1.0)
        return lambda: int8.window_attention(codes, within)

    name = f"window_attention {windows}x{tokens}x{heads}x{head} int8"
    return _micro(name, operations, "int8", build)


def _micro(
    name: str,
    operations: list[Operation],
    precision: str,
    build: Callable[[torch.device], Callable[[], object]],
) -> MicroKernel:
    (kernel,) = kernels(Workload(name, tuple(operations), 0), precision, TORCH)
    return MicroKernel(name, kernel, build)


def _on(
    shape: tuple[int, ...], precision: str, function: Callable[[torch.Tensor], object]
) -> Callable[[torch.device], Callable[[], object]]:
    def build(device: torch.device) -> Callable[[], object]:
        operand = _operand(shape, precision, device)
        return lambda: function(operand)

    return build


def _operand(shape: tuple[int, ...], precision: str, device: torch.device) -> Any:
    if precision == "int8":
        return torch.randint(-127, 128, shape, dtype=torch.int8, device=device)
    return torch.randn(shape, device=device).to(TYPES[precision])
