"""LayerNorm with a quantising output stage and a gather of rows, in Triton."""

import torch
import triton
import triton.language as tl

from costmodels.measuring.stages import Norm

_TILE = 2048  # elements of a program: narrow rows share one, which a launch per row would not
_MOST_COLUMNS = 4096


@triton.jit
def _norm_rows(
    values: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    index: tl.tensor,
    result: tl.tensor,
    rows: tl.tensor,
    cols: tl.tensor,
    image: tl.tensor,
    epsilon: tl.tensor,
    inverse: tl.tensor,
    gathers: tl.constexpr,
    codes: tl.constexpr,
    tile_rows: tl.constexpr,
    tile_cols: tl.constexpr,
) -> None:
    row = tl.program_id(0) * tile_rows + tl.arange(0, tile_rows)
    col = tl.arange(0, tile_cols)
    source = row
    if gathers:
        first = (row // image) * image
        source = first + tl.load(index + (row - first), mask=row < rows, other=0)
    inside = (row[:, None] < rows) & (col[None, :] < cols)
    place = values + source[:, None] * cols + col[None, :]
    value = tl.load(place, mask=inside, other=0.0).to(tl.float32)
    mean = tl.sum(value, axis=1) / cols
    value = tl.where(col[None, :] < cols, value - mean[:, None], 0.0)
    deviation = tl.sqrt(tl.sum(value * value, axis=1) / cols + epsilon)
    factor = tl.load(weight + col, mask=col < cols, other=0.0).to(tl.float32)
    offset = tl.load(bias + col, mask=col < cols, other=0.0).to(tl.float32)
    value = value / deviation[:, None] * factor[None, :] + offset[None, :]
    if codes:
        value = tl.floor(value * inverse + 0.5)
        value = tl.minimum(tl.maximum(value, -128.0), 127.0)
    place = result + row[:, None] * cols + col[None, :]
    tl.store(place, value.to(result.dtype.element_ty), mask=inside)


def norm_rows(values: torch.Tensor, norm: Norm) -> torch.Tensor:
    """Return normalised rows.

    Raises:
        ValueError: A row has more than 4096 elements.
    """
    rows, cols = values.shape
    if cols > _MOST_COLUMNS:
        raise ValueError(f"rows of {cols} elements; at most {_MOST_COLUMNS}")
    values, step, index = values.contiguous(), norm.step, norm.index
    result = torch.empty_like(values, dtype=values.dtype if step is None else torch.int8)
    tile_cols = triton.next_power_of_2(cols)
    tile_rows = max(1, _TILE // tile_cols)
    _norm_rows[(triton.cdiv(rows, tile_rows),)](
        values,
        norm.weight,
        norm.bias,
        norm.weight if index is None else index,
        result,
        rows,
        cols,
        rows if index is None else index.numel(),
        norm.epsilon,
        1.0 if step is None else 1 / step,
        index is not None,
        step is not None,
        tile_rows,
        tile_cols,
        num_warps=4,
    )
    return result
