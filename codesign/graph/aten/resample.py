"""Resampling by fixed matrices, one dimension after another: bilinear, bicubic, means."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx

from codesign.graph.aten.base import Constant, handles
from codesign.graph.aten.moves import add_permute

if TYPE_CHECKING:
    from codesign.graph.capture import Converter


def add_resample(c: "Converter", node: fx.Node, name: str, dim: int, matrix: Tensor) -> str:
    """Add the product of a matrix (new size, old size) and one dimension; return its name."""
    shape = c.nodes[name].shape
    if matrix.shape[0] == matrix.shape[1] and torch.equal(matrix, torch.eye(len(matrix))):
        return name
    order = [*(d for d in range(len(shape)) if d != dim), dim]
    name = add_permute(c, node, name, order)
    columns = matrix.T.contiguous()
    operand = c.constant_node(Constant(columns, columns), node)
    grown = (*c.nodes[name].shape[:-1], len(matrix))
    path = f"{c.path(node)}.resample".lstrip(".")
    attributes = {"factor": 1.0}
    name = c.add(path, "matmul", (name, operand), node, shape=grown, attributes=attributes)
    return add_permute(c, node, name, [order.index(d) for d in range(len(order))])


def averaging(before: int, after: int) -> Tensor:
    """Return the matrix of an adaptive mean: (after, before)."""
    return torch.nn.functional.adaptive_avg_pool1d(torch.eye(before)[None], after)[0].T.contiguous()


@handles("upsample_bilinear2d", "upsample_bicubic2d", "upsample_linear1d")
@handles("_upsample_bicubic2d_aa", "_upsample_bilinear2d_aa")
def _upsample(c: "Converter", node: fx.Node) -> str:
    """Apply each dimension's matrix, read off by resampling the unit matrix."""
    operand = c.operand(node.args[0], node)
    result = c.shape(node)
    for dim in range(2, len(result)):
        before, after = c.nodes[operand].shape[dim], result[dim]
        assert isinstance(before, int)
        assert isinstance(after, int)
        if before != after:
            operand = add_resample(c, node, operand, dim, _matrix(node, before, after))
    return operand


def _matrix(node: fx.Node, before: int, after: int) -> Tensor:
    """Return the matrix (after, before) of one dimension of an upsampling."""
    target = str(node.target)
    corners = bool([v for v in (*node.args[1:], *node.kwargs.values()) if v is True])
    mode = "bicubic" if "bicubic" in target else "bilinear"
    unit = torch.eye(before)[None, :, :, None].expand(1, before, before, 2)
    wide = torch.nn.functional.interpolate(
        unit.contiguous(), size=(after, 2), mode=mode, align_corners=corners,
        antialias="_aa" in target,
    )  # fmt: skip
    return wide[0, :, :, 0].T.contiguous()
