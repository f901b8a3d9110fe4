"""Products of matrices: matmul, einsum, attention."""

import math
from typing import TYPE_CHECKING

import torch
from torch import fx

from codesign.graph.aten.base import Constant, arguments, handles
from codesign.graph.aten.moves import add_expand, add_permute, add_reshape
from codesign.graph.ir import Dim, Shape

if TYPE_CHECKING:
    from codesign.graph.capture import Converter


@handles("matmul", "bmm", "mm")
def _matmul(c: "Converter", node: fx.Node) -> str:
    left, right = (c.operand(node.args[i], node) for i in (0, 1))
    shape = c.shape(node)
    if len(c.nodes[left].shape) == 1 or len(c.nodes[right].shape) == 1:
        raise c.unsupported(node, "a product with a vector")
    return add_matmul(c, node, left, right, shape)


def add_matmul(
    c: "Converter",
    node: fx.Node,
    left: str,
    right: str,
    shape: Shape,
    factor: float = 1.0,
    path: str = "matmul",
) -> str:
    """Add the product of two tensors of matrices; return its name."""
    name = f"{c.path(node)}.{path}"
    attributes = {"factor": float(factor)}
    return c.add(name, "matmul", (left, right), node, shape=shape, attributes=attributes)


@handles("scaled_dot_product_attention")
def _attention(c: "Converter", node: fx.Node) -> str:
    a = arguments(node)
    query, key, value = (c.operand(a[role], node) for role in ("query", "key", "value"))
    if a.get("enable_gqa"):
        heads = c.nodes[query].shape[-3]
        key, value = (_repeated(c, node, name, heads) for name in (key, value))
    key_shape = c.nodes[key].shape
    rank, head_size = len(key_shape), key_shape[-1]
    assert isinstance(head_size, int)
    factor = a["scale"] if a["scale"] is not None else 1.0 / math.sqrt(head_size)
    key = add_permute(c, node, key, [*range(rank - 2), rank - 1, rank - 2])
    scores = (*c.nodes[query].shape[:-1], c.nodes[key].shape[-1])
    name = add_matmul(c, node, query, key, scores, factor, "qk")
    mask = _causal(c, node, scores) if a["is_causal"] else a["attn_mask"]
    if mask is not None:
        name = _masked(c, node, name, mask, scores)
    soft = c.add(f"{c.path(node)}.softmax", "softmax", (name,), node, shape=scores)
    return add_matmul(c, node, soft, value, c.shape(node), 1.0, "av")


def _masked(c: "Converter", node: fx.Node, name: str, mask: object, scores: Shape) -> str:
    """Add a mask to scores: numbers, or minus a large number where a truth value is false."""
    constant = c.constant(mask)
    if constant is not None and constant.value.dtype == torch.bool:
        constant = constant.changed(lambda value: torch.where(value, 0.0, MASKED))
    elif constant is None and getattr(mask, "meta", {})["val"].dtype == torch.bool:
        raise c.unsupported(node, "attention with a mask computed from the image")
    other = c.operand(mask if constant is None else constant, node)
    return c.add(f"{c.path(node)}.bias", "add", (name, other), node, shape=scores)


MASKED = -100.0
"""Added to a score that is masked out: exp(-100) is below every probability code."""


def _causal(c: "Converter", node: fx.Node, scores: Shape) -> Constant:
    rows, columns = scores[-2:]
    assert isinstance(rows, int)
    assert isinstance(columns, int)
    mask = torch.ones(rows, columns, dtype=torch.bool).tril()
    return Constant(mask, mask)


def _repeated(c: "Converter", node: fx.Node, name: str, heads: Dim) -> str:
    """Repeat each head of the keys or values for the group of query heads that share it."""
    shape = c.nodes[name].shape
    have = shape[-3]
    assert isinstance(heads, int)
    assert isinstance(have, int)
    if have == heads:
        return name
    name = add_reshape(c, node, name, (*shape[:-2], 1, *shape[-2:]))
    name = add_expand(c, node, name, (*shape[:-2], heads // have, *shape[-2:]))
    return add_reshape(c, node, name, (*shape[:-3], heads, *shape[-2:]))


@handles("einsum")
def _einsum(c: "Converter", node: fx.Node) -> str:
    """Bring two operands to (shared, own, summed) and multiply them as matrices."""
    equation, operands = node.args[0], node.args[1]
    assert isinstance(equation, str)
    sides = equation.replace(" ", "").split("->")
    if len(sides) != 2 or "." in equation or len(operands) != 2:  # type: ignore[arg-type]
        raise c.unsupported(node, f"einsum '{equation}'")
    left, right = sides[0].split(",")
    result = sides[1]
    names = [c.operand(item, node) for item in operands]  # type: ignore[union-attr]
    sizes = dict(zip(left + right, c.nodes[names[0]].shape + c.nodes[names[1]].shape, strict=True))
    shared = [s for s in result if s in left and s in right]
    summed = [s for s in left if s in right and s not in result]
    rows = [s for s in left if s not in right]
    columns = [s for s in right if s not in left]
    if {*rows, *columns} - {*result} or len({*left}) != len(left) or len({*right}) != len(right):
        raise c.unsupported(node, f"einsum '{equation}'")
    first = _arranged(c, node, names[0], left, [shared, rows, summed], sizes)
    second = _arranged(c, node, names[1], right, [shared, summed, columns], sizes)
    shape = (*(sizes[s] for s in shared), _product(rows, sizes), _product(columns, sizes))
    name = add_matmul(c, node, first, second, shape)
    order = [*shared, *rows, *columns]
    name = add_reshape(c, node, name, tuple(sizes[s] for s in order))
    return add_permute(c, node, name, [order.index(s) for s in result])


def _arranged(
    c: "Converter",
    node: fx.Node,
    name: str,
    letters: str,
    groups: list[list[str]],
    sizes: dict[str, Dim],
) -> str:
    """Order an operand's dimensions; the last two groups become one dimension each."""
    order = [letters.index(s) for group in groups for s in group]
    name = add_permute(c, node, name, order)
    shape = (*(sizes[s] for s in groups[0]), *(_product(group, sizes) for group in groups[1:]))
    return add_reshape(c, node, name, shape)


def _product(letters: list[str], sizes: dict[str, Dim]) -> Dim:
    """Return the product of sizes, one of which may grow with the batch."""
    total = math.prod(int(str(sizes[s]).removesuffix("*B")) for s in letters)
    grows = any(isinstance(sizes[s], str) for s in letters)
    return f"{total}*B" if grows else total
