"""What reads elements by indices known in advance: rolls, repeats, windows, nearest upsampling."""

import math
from typing import TYPE_CHECKING

import torch
from torch import fx

from codesign.graph.aten.base import arguments, handles, rank
from codesign.graph.aten.moves import add_expand, add_reshape

if TYPE_CHECKING:
    from codesign.graph.capture import Converter


def add_gather(c: "Converter", node: fx.Node, name: str, dim: int, indices: list[int]) -> str:
    """Add the elements of one dimension at indices; return the name.

    Raises:
        UserError: The dimension is the batch.
    """
    shape = c.nodes[name].shape
    size = shape[dim]
    if not isinstance(size, int):
        raise c.unsupported(node, "an index into the batch")
    indices = [int(i) % size for i in indices]
    if indices == list(range(size)):
        return name
    grown = (*shape[:dim], len(indices), *shape[dim + 1 :])
    attributes = {"dim": dim, "indices": indices}
    path = f"{c.path(node)}.gather"
    return c.add(path, "gather", (name,), node, shape=grown, attributes=attributes)


@handles("roll")
def _roll(c: "Converter", node: fx.Node) -> str:
    a = arguments(node)
    name = c.operand(a["self"], node)
    shifts = [a["shifts"]] if isinstance(a["shifts"], int) else a["shifts"]
    if not a["dims"]:
        raise c.unsupported(node, "a roll of a flattened tensor")
    dims = [a["dims"]] if isinstance(a["dims"], int) else a["dims"]
    for shift, dim in zip(shifts, dims, strict=True):
        dim %= rank(node)
        size = c.nodes[name].shape[dim]
        if not isinstance(size, int):
            raise c.unsupported(node, "a roll of the batch")
        name = add_gather(c, node, name, dim, [(i - shift) % size for i in range(size)])
    return name


@handles("flip")
def _flip(c: "Converter", node: fx.Node) -> str:
    a = arguments(node)
    name = c.operand(a["self"], node)
    for dim in a["dims"]:
        size = c.nodes[name].shape[dim % rank(node)]
        if not isinstance(size, int):
            raise c.unsupported(node, "a flip of the batch")
        name = add_gather(c, node, name, dim % rank(node), list(range(size))[::-1])
    return name


@handles("index_select")
def _index_select(c: "Converter", node: fx.Node) -> str:
    a = arguments(node)
    indices = c.constant(a["index"])
    if indices is None:
        raise c.unsupported(node, "an index computed from the image")
    name = c.operand(a["self"], node)
    return add_gather(c, node, name, a["dim"] % rank(node), indices.value.tolist())


@handles("index")
def _index(c: "Converter", node: fx.Node) -> str:
    a = arguments(node)
    name = c.operand(a["self"], node)
    shape = c.nodes[name].shape
    used = [(dim, c.constant(i)) for dim, i in enumerate(a["indices"]) if i is not None]
    if any(i is None or i.value is not i.twice for _, i in used):
        raise c.unsupported(node, "an index computed from the image")
    dims = [dim for dim, _ in used]
    sizes = [shape[dim] for dim in dims]
    if dims != list(range(dims[0], dims[0] + len(dims))) or any(isinstance(s, str) for s in sizes):
        raise c.unsupported(node, "an index into dimensions that are apart")
    places = [i.value.nonzero()[:, 0] if i.value.dtype == torch.bool else i.value
              for _, i in used if i is not None]  # fmt: skip
    flat = torch.zeros_like(places[0])
    for place, size in zip(places, sizes, strict=True):
        assert isinstance(size, int)
        flat = flat * size + place % size
    total = math.prod(s for s in sizes if isinstance(s, int))
    name = add_reshape(c, node, name, (*shape[: dims[0]], total, *shape[dims[0] + len(dims) :]))
    name = add_gather(c, node, name, dims[0], flat.reshape(-1).tolist())
    return add_reshape(c, node, name, c.shape(node))


@handles("repeat_interleave")
def _repeat_interleave(c: "Converter", node: fx.Node) -> str:
    a = arguments(node)
    name = c.operand(a["self"], node)
    if not isinstance(a["repeats"], int) or a["dim"] is None:
        raise c.unsupported(node, "repeats that differ between elements")
    dim = a["dim"] % rank(node)
    size = c.nodes[name].shape[dim]
    if isinstance(size, int):
        return add_gather(c, node, name, dim, [i for i in range(size) for _ in range(a["repeats"])])
    shape = c.nodes[name].shape
    name = add_reshape(c, node, name, (*shape[: dim + 1], 1, *shape[dim + 1 :]))
    name = add_expand(c, node, name, (*shape[: dim + 1], a["repeats"], *shape[dim + 1 :]))
    return add_reshape(c, node, name, c.shape(node))


@handles("repeat", "tile")
def _repeat(c: "Converter", node: fx.Node) -> str:
    """Repeat a tensor: dimensions of size one are expanded, others read again."""
    name = c.operand(node.args[0], node)
    target = c.shape(node)
    old = c.nodes[name].shape
    name = add_reshape(c, node, name, (1,) * (len(target) - len(old)) + old)
    for dim, size in enumerate(target):
        have = c.nodes[name].shape[dim]
        if have == size:
            continue
        if have == 1:
            shape = c.nodes[name].shape
            name = add_expand(c, node, name, (*shape[:dim], size, *shape[dim + 1 :]))
        elif isinstance(have, int) and isinstance(size, int):
            name = add_gather(c, node, name, dim, [i % have for i in range(size)])
        else:
            raise c.unsupported(node, "a repetition over the batch")
    return name


@handles("upsample_nearest2d", "upsample_nearest1d", "_upsample_nearest_exact2d")
def _nearest(c: "Converter", node: fx.Node) -> str:
    name = c.operand(node.args[0], node)
    exact = 0.5 if "exact" in str(node.target) else 0.0
    for dim, size in enumerate(c.shape(node)[2:], start=2):
        have = c.nodes[name].shape[dim]
        assert isinstance(have, int)
        assert isinstance(size, int)
        indices = [min(math.floor((i + exact) * have / size), have - 1) for i in range(size)]
        name = add_gather(c, node, name, dim, indices)
    return name
