"""INT8 kernels with fused output stages, in Triton: product, quantiser, table of a function."""

from functools import partial
from typing import Any

import torch
import triton
import triton.language as tl

from costmodels.measuring import triton_attention, triton_rows
from costmodels.measuring.stages import Norm, OutputStage, Windows

_BLOCKS = (
    (128, 128, 64, 8),
    (128, 64, 64, 4),
    (64, 64, 64, 4),
    (64, 128, 128, 4),
    (32, 32, 128, 4),
)
"""Rows, columns and depth of a tile, warps: the candidates timed for each shape."""

_BEST: dict[tuple[int, int, int, bool, bool, str], tuple[int, int, int, int]] = {}
"""The fastest tile by rows, columns, depth, codes, residual and device.

Networks share it: they differ in their activation, then, and not in the luck of two timings.
"""

_SLICE = 1024


@triton.jit
def _product(
    left: tl.tensor,
    right: tl.tensor,
    scale: tl.tensor,
    bias: tl.tensor,
    residual: tl.tensor,
    index: tl.tensor,
    result: tl.tensor,
    rows: tl.tensor,
    cols: tl.tensor,
    depth: tl.tensor,
    image: tl.tensor,
    inverse: tl.tensor,
    relu: tl.constexpr,
    codes: tl.constexpr,
    adds: tl.constexpr,
    scatters: tl.constexpr,
    tile_rows: tl.constexpr,
    tile_cols: tl.constexpr,
    tile_depth: tl.constexpr,
) -> None:
    row = tl.program_id(0) * tile_rows + tl.arange(0, tile_rows)
    col = tl.program_id(1) * tile_cols + tl.arange(0, tile_cols)
    total = tl.zeros((tile_rows, tile_cols), dtype=tl.int32)
    for start in range(0, depth, tile_depth):
        k = start + tl.arange(0, tile_depth)
        inside = (row[:, None] < rows) & (k[None, :] < depth)
        a = tl.load(left + row[:, None] * depth + k[None, :], mask=inside, other=0)
        inside = (col[None, :] < cols) & (k[:, None] < depth)
        b = tl.load(right + col[None, :] * depth + k[:, None], mask=inside, other=0)
        total += tl.dot(a, b, out_dtype=tl.int32)
    factor = tl.load(scale + col, mask=col < cols, other=0.0)
    offset = tl.load(bias + col, mask=col < cols, other=0.0)
    value = total.to(tl.float32) * factor[None, :] + offset[None, :]
    if relu:
        value = tl.maximum(value, 0.0)
    target = row
    if scatters:
        first = (row // image) * image
        target = first + tl.load(index + (row - first), mask=row < rows, other=0)
    inside = (row[:, None] < rows) & (col[None, :] < cols)
    place = target[:, None] * cols + col[None, :]
    if adds:
        value += tl.load(residual + place, mask=inside, other=0.0).to(tl.float32)
    if codes:
        value = tl.floor(value * inverse + 0.5)
        value = tl.minimum(tl.maximum(value, -128.0), 127.0)
    tl.store(result + place, value.to(result.dtype.element_ty), mask=inside)


@triton.jit
def _quantize(
    values: tl.tensor, codes: tl.tensor, inverse: tl.tensor, count: tl.tensor, size: tl.constexpr
) -> None:
    place = tl.program_id(0) * size + tl.arange(0, size)
    value = tl.load(values + place, mask=place < count, other=0.0).to(tl.float32)
    value = tl.floor(value * inverse + 0.5)
    value = tl.minimum(tl.maximum(value, -128.0), 127.0)
    tl.store(codes + place, value.to(tl.int8), mask=place < count)


@triton.jit
def _look_up(
    codes: tl.tensor, table: tl.tensor, result: tl.tensor, count: tl.tensor, size: tl.constexpr
) -> None:
    place = tl.program_id(0) * size + tl.arange(0, size)
    code = tl.load(codes + place, mask=place < count, other=0).to(tl.int32)
    tl.store(result + place, tl.load(table + code + 128), mask=place < count)


class TritonKernels:
    """INT8 kernels whose products rescale, clamp and requantise in their output stage."""

    name = "triton"

    def quantize(self, values: torch.Tensor, scale: float) -> torch.Tensor:
        """Return the INT8 codes of `values`, rounded half up."""
        values = values.contiguous()
        codes = torch.empty_like(values, dtype=torch.int8)
        count = values.numel()
        _quantize[(triton.cdiv(count, _SLICE),)](values, codes, 1 / scale, count, _SLICE)
        return codes

    def look_up(self, codes: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        """Return `table[code + 128]` for each code."""
        result = torch.empty_like(codes)
        count = codes.numel()
        _look_up[(triton.cdiv(count, _SLICE),)](codes, table, result, count, _SLICE)
        return result

    def linear(
        self,
        codes: torch.Tensor,
        weight: torch.Tensor,
        scale: torch.Tensor,
        bias: torch.Tensor,
        stage: OutputStage,
    ) -> torch.Tensor:
        """Return codes @ weight.T, rescaled, after the output stage (see `Kernels.linear`)."""
        (m, k), n = codes.shape, weight.shape[0]
        coded, adds, index = stage.output_scale is not None, stage.residual is not None, stage.index
        kind = torch.int8 if coded else stage.dtype
        result = torch.empty((m, n), dtype=kind, device=codes.device)
        added = result if stage.residual is None else stage.residual.contiguous()
        pointers = (codes, weight, scale, bias, added, scale if index is None else index, result)
        sizes = (m, n, k, m if index is None else index.numel())
        inverse = 1.0 if stage.output_scale is None else 1 / stage.output_scale
        flags = (stage.relu, coded, adds, index is not None)

        def launch(blocks: tuple[int, int, int, int]) -> None:
            rows, cols, depth, warps = blocks
            grid = (triton.cdiv(m, rows), triton.cdiv(n, cols))
            arguments: tuple[Any, ...] = (*pointers, *sizes, inverse, *flags)
            _product[grid](*arguments, rows, cols, depth, num_warps=warps)

        launch(_blocks((m, n, k, coded, adds, str(codes.device)), launch, codes.device))
        return result

    def layer_norm(self, values: torch.Tensor, norm: Norm) -> torch.Tensor:
        """Return each row normalised."""
        return triton_rows.norm_rows(values, norm)

    def window_attention(self, codes: torch.Tensor, windows: Windows) -> torch.Tensor:
        """Return attention's codes."""
        return triton_attention.window_attention(codes, windows)


def _blocks(
    key: tuple[int, int, int, bool, bool, str], launch: Any, device: torch.device
) -> tuple[int, int, int, int]:
    """Return the fastest tile of a shape; timed once, on a GPU alone."""
    from costmodels.measuring.device import time_ms

    if device.type != "cuda":
        return _BLOCKS[2]
    if key not in _BEST:

        def taken(blocks: tuple[int, int, int, int]) -> float:
            return time_ms(partial(launch, blocks), device, repeats=3, graph=True)

        _BEST[key] = min(_BLOCKS, key=taken)
    return _BEST[key]
