"""What takes tensors apart and joins them."""

from typing import TYPE_CHECKING, Any

from torch import fx

from codesign.graph.aten.base import arguments, handles, rank, source
from codesign.graph.aten.moves import add_reshape, add_slice
from codesign.graph.ir import Shape

if TYPE_CHECKING:
    from codesign.graph.capture import Converter


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
