"""Pooling and reductions: windows, whole dimensions, sums, largest values."""

import math
from typing import TYPE_CHECKING, Any

from torch import fx

from codesign.graph.aten.base import arguments, handles, pair, rank, short_name
from codesign.graph.aten.moves import add_permute, add_reshape
from codesign.graph.aten.padding import Bordered
from codesign.graph.aten.resample import add_resample, averaging

if TYPE_CHECKING:
    from codesign.graph.capture import Converter


@handles("max_pool2d", "max_pool2d_with_indices")
def _max_pool2d(c: "Converter", node: fx.Node) -> Any:
    a = arguments(node)
    attributes: dict[str, Any] = {
        "kernel": pair(a["kernel_size"]),
        "stride": pair(a["stride"] or a["kernel_size"]),
        "padding": pair(a["padding"]),
        "dilation": pair(a["dilation"]),
        "ceil": bool(a["ceil_mode"]),
    }
    found = c.value[a["self"]]
    operand = found.name if isinstance(found, Bordered) else c.operand(a["self"], node)
    attributes["border"] = found.pads[2:] if isinstance(found, Bordered) else [[0, 0], [0, 0]]
    return _add_values(c, node, "max_pool", "max_pool2d", operand, attributes)


def _add_values(
    c: "Converter", node: fx.Node, name: str, op: str, operand: str, attributes: dict[str, Any]
) -> Any:
    """Add a node; in a list where ATen returns values and indices, of which the values count."""
    name = f"{c.path(node)}.{name}".lstrip(".")
    whole = node.meta["val"]
    if isinstance(whole, list | tuple):
        shape = tuple(c.dim(size, node) for size in whole[0].shape)
        return [c.add(name, op, (operand,), node, shape=shape, attributes=attributes)]
    return c.add(name, op, (operand,), node, attributes=attributes)


@handles("avg_pool2d")
def _avg_pool2d(c: "Converter", node: fx.Node) -> str:
    a = arguments(node)
    if a["divisor_override"] is not None:
        raise c.unsupported(node, "avg_pool2d with a divisor of its own")
    attributes = {
        "kernel": pair(a["kernel_size"]),
        "stride": pair(a["stride"] or a["kernel_size"]),
        "padding": pair(a["padding"]),
        "ceil": bool(a["ceil_mode"]),
        "count_padding": bool(a["count_include_pad"]),
    }
    operand = c.operand(a["self"], node)
    name = f"{c.path(node)}.avg_pool".lstrip(".")
    return c.add(name, "avg_pool2d", (operand,), node, attributes=attributes)


@handles("avg_pool1d")
def _avg_pool1d(c: "Converter", node: fx.Node) -> str:
    a = arguments(node)
    single = {key: a[key][0] for key in ("kernel_size", "padding")}
    stride = a["stride"][0] if a["stride"] else single["kernel_size"]
    attributes = {
        "kernel": [1, single["kernel_size"]],
        "stride": [1, stride],
        "padding": [0, single["padding"]],
        "ceil": bool(a["ceil_mode"]),
        "count_padding": bool(a["count_include_pad"]),
    }
    operand = c.operand(a["self"], node)
    shape, result = c.nodes[operand].shape, c.shape(node)
    operand = add_reshape(c, node, operand, (*shape[:-1], 1, shape[-1]))
    wide = (*result[:-1], 1, result[-1])
    name = f"{c.path(node)}.avg_pool".lstrip(".")
    name = c.add(name, "avg_pool2d", (operand,), node, shape=wide, attributes=attributes)
    return add_reshape(c, node, name, result)


@handles("adaptive_avg_pool2d", "adaptive_avg_pool1d")
def _adaptive_pool(c: "Converter", node: fx.Node) -> str:
    operand = c.operand(node.args[0], node)
    shape, result = c.nodes[operand].shape, c.shape(node)
    first = 2 if "2d" in str(node.target) else len(shape) - 1
    sizes = list(zip(shape[first:], result[first:], strict=True))
    if all(after == 1 for _, after in sizes):
        return add_mean(c, node, list(range(first, len(shape))), keep=True)
    for dim, (before, after) in enumerate(sizes, start=first):
        assert isinstance(before, int)
        assert isinstance(after, int)
        operand = add_resample(c, node, operand, dim, averaging(before, after))
    return operand


@handles("mean", "sum")
def _mean(c: "Converter", node: fx.Node) -> str:
    a = arguments(node)
    before = rank(node.args[0])
    dims = a.get("dim")
    dims = list(range(before)) if not dims and dims != 0 else dims
    dims = sorted(d % before for d in ([dims] if isinstance(dims, int) else dims))
    return add_mean(c, node, dims, keep=a.get("keepdim", False))


def add_mean(c: "Converter", node: fx.Node, dims: list[int], *, keep: bool) -> str:
    """Add the mean (or sum) over dimensions.

    Raises:
        UserError: The batch is among the dimensions.
    """
    operand = c.operand(node.args[0], node)
    shape = c.nodes[operand].shape
    if any(isinstance(shape[d], str) for d in dims):
        raise c.unsupported(node, "a mean over the batch")
    attributes: dict[str, Any] = {"dims": dims, "keep": bool(keep)}
    if short_name(node) == "sum":
        attributes["factor"] = float(math.prod(int(shape[d]) for d in dims))
    kind = short_name(node) if short_name(node) == "sum" else "mean"
    name = f"{c.path(node)}.{kind}"
    return c.add(name, "mean", (operand,), node, attributes=attributes)


@handles("amax", "max")
def _amax(c: "Converter", node: fx.Node) -> Any:
    a = arguments(node)
    operand = c.operand(a["self"], node)
    if isinstance(a.get("other"), fx.Node):
        raise c.unsupported(node, "the larger of two tensors")
    shape = c.nodes[operand].shape
    given: Any = a.get("dim")
    dims = given if isinstance(given, list | tuple) else [given]
    if None in dims or any(isinstance(shape[d], str) for d in dims):
        raise c.unsupported(node, "the largest value over the batch")
    attributes = {"dims": sorted(d % len(shape) for d in dims), "keep": bool(a["keepdim"])}
    return _add_values(c, node, "max", "max", operand, attributes)


@handles("softmax", "_softmax")
def _softmax(c: "Converter", node: fx.Node) -> str:
    dim = arguments(node)["dim"] % rank(node)
    order = [*(d for d in range(rank(node)) if d != dim), dim]
    operand = add_permute(c, node, c.operand(node.args[0], node), order)
    name = f"{c.path(node)}.softmax"
    shape = c.nodes[operand].shape
    name = c.add(name, "softmax", (operand,), node, shape=shape)
    return add_permute(c, node, name, [order.index(d) for d in range(len(order))])
