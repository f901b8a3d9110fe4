"""What only moves values: shapes, orders, slices, padding."""

from typing import TYPE_CHECKING, Any

from torch import fx

from codesign.graph.aten.base import arguments, handles, rank, source
from codesign.graph.ir import Dim, Shape

if TYPE_CHECKING:
    from codesign.graph.capture import Converter


@handles("dropout", "contiguous", "clone", "alias", "detach", "to", "type_as", "feature_dropout")
@handles("lift_fresh_copy", "_to_copy", "float")
def _identity(c: "Converter", node: fx.Node) -> Any:
    return c.value[source(node)]


@handles("copy")
def _copy(c: "Converter", node: fx.Node) -> str:
    """Take the new values for all of a tensor."""
    a = arguments(node)
    return add_expand(c, node, c.operand(a["src"], node), c.shape(node))


@handles("reshape", "view", "flatten", "unsqueeze", "squeeze", "_unsafe_view", "unflatten")
@handles("reshape_as", "view_as", "ravel")
def _reshape(c: "Converter", node: fx.Node) -> str:
    return add_reshape(c, node, c.operand(node.args[0], node), c.shape(node))


def add_reshape(c: "Converter", node: fx.Node, name: str, shape: Shape) -> str:
    """Add a reshape; return its name, or the input's where the shape is the same."""
    if c.nodes[name].shape == shape:
        return name
    return c.add(f"{c.path(node)}.reshape", "reshape", (name,), node, shape=shape)


@handles("permute")
def _permute(c: "Converter", node: fx.Node) -> str:
    order = [d % rank(node) for d in arguments(node)["dims"]]
    return add_permute(c, node, c.operand(node.args[0], node), order)


@handles("transpose", "swapaxes", "swapdims")
def _transpose(c: "Converter", node: fx.Node) -> str:
    a = arguments(node)
    kind = "dim" if "dim0" in a else "axis"
    i, j = (a[f"{kind}{k}"] % rank(node) for k in (0, 1))
    order = list(range(rank(node)))
    order[i], order[j] = order[j], order[i]
    return add_permute(c, node, c.operand(node.args[0], node), order)


@handles("t", "numpy_T", "mT", "matrix_H", "adjoint")
def _transposed(c: "Converter", node: fx.Node) -> str:
    order = list(range(rank(node)))
    if "numpy_T" in str(node.target):
        order = order[::-1]
    elif rank(node) > 1:
        order[-2:] = [order[-1], order[-2]]
    return add_permute(c, node, c.operand(node.args[0], node), order)


@handles("movedim", "moveaxis")
def _movedim(c: "Converter", node: fx.Node) -> str:
    a = arguments(node)
    sources, targets = (
        [d % rank(node) for d in ([a[k]] if isinstance(a[k], int) else a[k])]
        for k in ("source", "destination")
    )
    order = [d for d in range(rank(node)) if d not in sources]
    for target, moved in sorted(zip(targets, sources, strict=True)):
        order.insert(target, moved)
    return add_permute(c, node, c.operand(node.args[0], node), order)


def add_permute(c: "Converter", node: fx.Node, name: str, order: list[int]) -> str:
    """Add a permutation of dimensions; return its name."""
    if order == list(range(len(order))):
        return name
    shape = tuple(c.nodes[name].shape[d] for d in order)
    attributes = {"order": order}
    path = f"{c.path(node)}.permute"
    return c.add(path, "permute", (name,), node, shape=shape, attributes=attributes)


@handles("expand", "expand_as", "broadcast_to")
def _expand(c: "Converter", node: fx.Node) -> str:
    return add_expand(c, node, c.operand(node.args[0], node), c.shape(node))


def add_expand(c: "Converter", node: fx.Node, name: str, shape: Shape) -> str:
    """Add the repetition of dimensions of size one; return its name."""
    old = c.nodes[name].shape
    name = add_reshape(c, node, name, (1,) * (len(shape) - len(old)) + old)
    if c.nodes[name].shape == shape:
        return name
    return c.add(f"{c.path(node)}.expand", "expand", (name,), node, shape=shape)


@handles("select")
def _select(c: "Converter", node: fx.Node) -> str:
    a = arguments(node)
    name = c.operand(a["self"], node)
    attributes = {"dim": a["dim"] % len(c.nodes[name].shape), "index": a["index"]}
    return c.add(f"{c.path(node)}.select", "select", (name,), node, attributes=attributes)


@handles("slice", "narrow")
def _slice(c: "Converter", node: fx.Node) -> str:
    a = arguments(node)
    name = c.operand(a["self"], node)
    shape = c.nodes[name].shape
    dim = a["dim"] % len(shape)
    size = shape[dim]
    start, stop, step = a["start"], a.get("end"), a.get("step", 1)
    if "length" in a:
        stop = start + a["length"]
    if not isinstance(size, int):
        if start in (None, 0) and stop in (None, 2**63 - 1) and step == 1:
            return name
        raise c.unsupported(node, "a slice of the batch")
    return add_slice(c, node, name, dim, *slice(start, stop, step).indices(size))


def add_slice(
    c: "Converter", node: fx.Node, name: str, dim: int, start: int, stop: int, step: int = 1
) -> str:
    """Add a slice of one dimension; return its name, or the input's where all of it is kept."""
    shape = list(c.nodes[name].shape)
    length = len(range(start, stop, step))
    if length == shape[dim] and step == 1:
        return name
    shape[dim] = length
    attributes = {"dim": dim, "start": start, "stop": stop, "step": step}
    path = f"{c.path(node)}.slice"
    return c.add(path, "slice", (name,), node, shape=tuple(shape), attributes=attributes)


def add_pad(c: "Converter", node: fx.Node, name: str, pads: list[list[int]]) -> str:
    """Add zeros around a tensor, or cut where a width is negative; return the name.

    Args:
        c: The converter.
        node: The exported node.
        name: The tensor's node.
        pads: [before, after] for every dimension.
    """
    for dim, (before, after) in enumerate(pads):
        size = c.nodes[name].shape[dim]
        if isinstance(size, int) and min(before, after) < 0:
            name = add_slice(c, node, name, dim, max(-before, 0), size - max(-after, 0))
    widths = [[max(before, 0), max(after, 0)] for before, after in pads]
    if not any(before or after for before, after in widths):
        return name
    shape = padded_shape(c.nodes[name].shape, widths)
    attributes = {"pads": widths, "value": 0}
    path = f"{c.path(node)}.pad"
    return c.add(path, "pad", (name,), node, shape=shape, attributes=attributes)


def padded_shape(shape: Shape, pads: list[list[int]]) -> Shape:
    """Return a shape with padding added."""
    sizes: list[Dim] = []
    for size, (before, after) in zip(shape, pads, strict=True):
        sizes.append(size + before + after if isinstance(size, int) else size)
    return tuple(sizes)
