"""Sliding windows as elements read again: unfold, im2col and its reverse."""

from typing import TYPE_CHECKING

import torch
from torch import fx

from codesign.graph.aten.base import arguments, handles, pair
from codesign.graph.aten.gathers import add_gather
from codesign.graph.aten.moves import add_pad, add_permute, add_reshape

if TYPE_CHECKING:
    from codesign.graph.capture import Converter


@handles("unfold")
def _unfold(c: "Converter", node: fx.Node) -> str:
    """Cut one dimension into windows, which become the last dimension."""
    a = arguments(node)
    name = c.operand(a["self"], node)
    shape = c.nodes[name].shape
    dim, length, step = a["dimension"] % len(shape), a["size"], a["step"]
    size = shape[dim]
    assert isinstance(size, int)
    starts = range(0, size - length + 1, step)
    name = add_gather(c, node, name, dim, [s + i for s in starts for i in range(length)])
    name = add_reshape(c, node, name, (*shape[:dim], len(starts), length, *shape[dim + 1 :]))
    order = [d for d in range(len(shape) + 1) if d != dim + 1]
    return add_permute(c, node, name, [*order, dim + 1])


@handles("im2col")
def _im2col(c: "Converter", node: fx.Node) -> str:
    a = arguments(node)
    kernel, dilation, padding, stride = (
        pair(a[key]) for key in ("kernel_size", "dilation", "padding", "stride")
    )
    name = c.operand(a["self"], node)
    name = add_pad(c, node, name, [[0, 0], [0, 0], *([p, p] for p in padding)])
    batch, channels, height, width = c.nodes[name].shape
    assert isinstance(height, int)
    assert isinstance(width, int)
    indices = windows((height, width), kernel, dilation, stride)
    name = add_reshape(c, node, name, (batch, channels, height * width))
    name = add_gather(c, node, name, 2, indices.reshape(-1).tolist())
    return add_reshape(c, node, name, c.shape(node))


def windows(
    size: tuple[int, int], kernel: list[int], dilation: list[int], stride: list[int]
) -> torch.Tensor:
    """Return the flat index under each place of a sliding kernel, (kernel h * w, places) int64."""
    places = torch.arange(size[0] * size[1], dtype=torch.float64).reshape(1, 1, *size)
    columns = torch.nn.functional.unfold(places, kernel, dilation, 0, stride)  # type: ignore[arg-type]
    return columns[0].to(torch.int64)


@handles("col2im")
def _col2im(c: "Converter", node: fx.Node) -> str:
    """Add overlapping windows: every pixel sums the places where it lies, zeros for the rest."""
    a = arguments(node)
    kernel, dilation, padding, stride = (
        pair(a[key]) for key in ("kernel_size", "dilation", "padding", "stride")
    )
    name = c.operand(a["self"], node)
    batch, _, height, width = c.shape(node)
    assert isinstance(height, int)
    assert isinstance(width, int)
    size = (height + 2 * padding[0], width + 2 * padding[1])
    indices = windows(size, kernel, dilation, stride).reshape(-1)
    count = len(indices)
    order = torch.argsort(indices, stable=True)
    times = torch.bincount(indices, minlength=size[0] * size[1])
    deepest = int(times.max())
    table = torch.full((size[0] * size[1], deepest), count)
    starts = times.cumsum(0) - times
    for depth in range(deepest):
        has = times > depth
        table[has, depth] = order[starts[has] + depth]
    table = table.reshape(*size, deepest)
    inner = table[padding[0] : size[0] - padding[0], padding[1] : size[1] - padding[1]]
    channels = c.shape(node)[1]
    name = add_reshape(c, node, name, (batch, channels, count))
    name = add_pad(c, node, name, [[0, 0], [0, 0], [0, 1]])
    name = add_gather(c, node, name, 2, inner.reshape(-1).tolist())
    name = add_reshape(c, node, name, (batch, channels, height, width, deepest))
    attributes = {"dims": [4], "keep": False, "factor": float(deepest)}
    return c.add(f"{c.path(node)}.sum", "mean", (name,), node, attributes=attributes)
