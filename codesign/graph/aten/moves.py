"""What only moves values: shapes, orders, slices, padding."""

from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from codesign.graph.aten.base import Constant, arguments, handles, rank, source
from codesign.graph.ir import Dim, Shape

if TYPE_CHECKING:
    from codesign.graph.capture import Converter


@handles("dropout", "contiguous", "clone", "alias", "detach", "to", "type_as", "feature_dropout")
@handles("lift_fresh_copy", "_to_copy", "float")
def _identity(c: "Converter", node: fx.Node) -> Any:
    return c.value[source(node)]


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
    i, j = (a.get(f"dim{k}", a.get(f"axis{k}")) % rank(node) for k in (0, 1))
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


@handles("unbind", "chunk", "split", "split_with_sizes", "tensor_split")
def _pieces(c: "Converter", node: fx.Node) -> list[str]:
    a = arguments(node)
    name = c.operand(a["self"], node)
    dim = a["dim"] % len(c.nodes[name].shape)
    pieces, start = [], 0
    for index, piece in enumerate(node.meta["val"]):
        shape = tuple(c.dim(size, node) for size in piece.shape)
        if "unbind" in str(node.target):
            attributes = {"dim": dim, "index": index}
            path = f"{c.path(node)}.select"
            part = c.add(path, "select", (name,), node, shape=shape, attributes=attributes)
        else:
            size = shape[dim]
            if not isinstance(size, int):
                raise c.unsupported(node, "a split of the batch")
            part = add_slice(c, node, name, dim, start, start + size)
            start += size
        pieces.append(part)
    return pieces


@handles("getitem")
def _getitem(c: "Converter", node: fx.Node) -> Any:
    return c.value[source(node)][node.args[1]]


@handles("cat", "concat", "concatenate")
def _concat(c: "Converter", node: fx.Node) -> str:
    a = arguments(node)
    names = [c.operand(item, node) for item in a["tensors"] if 0 not in item.meta["val"].shape]
    return add_concat(c, node, names, a["dim"] % rank(node), c.shape(node))


def add_concat(c: "Converter", node: fx.Node, names: list[str], dim: int, shape: Shape) -> str:
    """Add the concatenation of tensors; return its name."""
    if len(names) == 1:
        return names[0]
    attributes = {"dim": dim}
    path = f"{c.path(node)}.concat"
    return c.add(path, "concat", tuple(names), node, shape=shape, attributes=attributes)


@handles("stack")
def _stack(c: "Converter", node: fx.Node) -> str:
    a = arguments(node)
    shape = c.shape(node)
    dim = a["dim"] % len(shape)
    single = (*shape[:dim], 1, *shape[dim + 1 :])
    names = [add_reshape(c, node, c.operand(item, node), single) for item in a["tensors"]]
    return add_concat(c, node, names, dim, shape)


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


@handles("pad", "constant_pad_nd")
def _pad(c: "Converter", node: fx.Node) -> str:
    a = arguments(node)
    name = c.operand(node.args[0], node)
    flat = list(a["pad"])
    pairs = [flat[i : i + 2] for i in range(0, len(flat), 2)][::-1]
    pads = [[0, 0]] * (rank(node) - len(pairs)) + pairs
    mode, value = a.get("mode", "constant"), a.get("value") or 0.0
    if mode != "constant":
        return _pad_by_copies(c, node, name, pads, mode)
    if value == 0.0 or all(width <= 0 for pair in pads for width in pair):
        return add_pad(c, node, name, pads)
    return _pad_with(c, node, name, pads, value)


def _pad_with(c: "Converter", node: fx.Node, name: str, pads: list[list[int]], value: float) -> str:
    """Pad with another number than zero: constants joined on either side."""
    for dim, widths in enumerate(pads):
        shape = c.nodes[name].shape
        parts = [name]
        for side, width in enumerate(widths):
            if width <= 0:
                continue
            block = torch.full((1,) * len(shape), value)
            held = c.constant_node(Constant(block, block), node)
            held = add_expand(c, node, held, (*shape[:dim], width, *shape[dim + 1 :]))
            parts = [held, *parts] if side == 0 else [*parts, held]
        size = shape[dim]
        if len(parts) > 1 and isinstance(size, int):
            grown = (*shape[:dim], size + sum(widths), *shape[dim + 1 :])
            name = add_concat(c, node, parts, dim, grown)
    return name


def _pad_by_copies(
    c: "Converter", node: fx.Node, name: str, pads: list[list[int]], mode: str
) -> str:
    """Pad by reflection, by the border's values, or by the other side's."""
    from codesign.graph.aten.gathers import add_gather

    for dim, (before, after) in enumerate(pads):
        size = c.nodes[name].shape[dim]
        if not (before or after) or not isinstance(size, int):
            continue
        places = range(-before, size + after)
        if mode == "reflect":
            period = max(2 * size - 2, 1)
            indices = [min(p % period, period - p % period) for p in places]
        elif mode == "replicate":
            indices = [min(max(p, 0), size - 1) for p in places]
        else:
            indices = [p % size for p in places]
        name = add_gather(c, node, name, dim, indices)
    return name
