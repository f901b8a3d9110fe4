"""Sums, products and quotients, with numbers, with constants and of activations."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

from codesign.graph.aten.activations import add_function
from codesign.graph.aten.base import Constant, arguments, handles, number, short_name
from codesign.graph.aten.patterns import inverse_root, normalised
from codesign.graph.ir import Shape

if TYPE_CHECKING:
    from codesign.graph.capture import Converter

LARGEST_EPSILON = 1e-3
"""A number up to this, added to a denominator, is there against division by zero."""


@handles("add")
def _add(c: "Converter", node: fx.Node) -> str:
    a = arguments(node)
    return _sum(c, node, a["self"], a["other"], 1.0, a.get("alpha", 1))


@handles("sub")
def _sub(c: "Converter", node: fx.Node) -> str:
    a = arguments(node)
    return _sum(c, node, a["self"], a["other"], 1.0, -a.get("alpha", 1))


@handles("rsub")
def _rsub(c: "Converter", node: fx.Node) -> str:
    a = arguments(node)
    return _sum(c, node, a["self"], a["other"], -a.get("alpha", 1), 1.0)


@handles("neg")
def _neg(c: "Converter", node: fx.Node) -> str:
    return scaled(c, node, c.operand(node.args[0], node), torch.tensor(-1.0), c.shape(node))


def _sum(c: "Converter", node: fx.Node, x: Any, y: Any, p: float, q: float) -> str:
    """Add p * x + q * y; each a number, a constant or an activation."""
    left, right = value(c, x), value(c, y)
    if left is not None:
        left, right, x, y, p, q = right, left, y, x, q, p
    name = c.operand(x, node)
    if right is not None and right.value is right.twice:
        result = _affine(c, node, name, torch.tensor(float(p)), right.value.float() * q)
        if result is not None:
            return result
    other = _operand_times(c, node, y if right is None else right, q)
    name = _times(c, node, name, p)
    return c.add(f"{c.path(node)}.add", "add", (name, other), node)


def _operand_times(c: "Converter", node: fx.Node, operand: Any, factor: float) -> str:
    if isinstance(operand, Constant) and factor != 1:
        return c.operand(operand.changed(lambda value: value * factor), node)
    return _times(c, node, c.operand(operand, node), factor)


def _times(c: "Converter", node: fx.Node, name: str, factor: float) -> str:
    if factor == 1:
        return name
    return scaled(c, node, name, torch.tensor(float(factor)), c.nodes[name].shape)


@handles("mul")
def _mul(c: "Converter", node: fx.Node) -> str:
    a = arguments(node)
    return (
        normalised(c, node, a["self"], a["other"])
        or normalised(c, node, a["other"], a["self"])
        or product(c, node, a["self"], a["other"])
    )


def product(c: "Converter", node: fx.Node, x: Any, y: Any) -> str:
    """Add x * y; each a number, a constant or an activation."""
    left, right = value(c, x), value(c, y)
    if left is not None:
        left, right, x, y = right, left, y, x
    name = c.operand(x, node)
    if right is not None and right.value is right.twice:
        result = _affine(c, node, name, right.value.float(), torch.tensor(0.0))
        if result is not None:
            return result
    other = c.operand(y if right is None else right, node)
    return c.add(f"{c.path(node)}.mul", "mul", (name, other), node)


@handles("addcmul")
def _addcmul(c: "Converter", node: fx.Node) -> str:
    a = arguments(node)
    inner = [value(c, a[key]) for key in ("tensor1", "tensor2")]
    if all(inner):
        raise c.unsupported(node, "addcmul of constants")
    if inner[0] is None and inner[1] is None:
        left, right = (c.operand(a[key], node) for key in ("tensor1", "tensor2"))
        done = c.add(f"{c.path(node)}.mul", "mul", (left, right), node)
    else:
        done = product(c, node, a["tensor1"], a["tensor2"])
    return _sum(c, node, done, a["self"], a.get("value", 1), 1.0)


@handles("div", "true_divide")
def _div(c: "Converter", node: fx.Node) -> str:
    a = arguments(node)
    if a.get("rounding_mode"):
        raise c.unsupported(node, "a division that rounds")
    over, under = value(c, a["self"]), value(c, a["other"])
    if under is not None:
        return product(c, node, a["self"], under.changed(lambda v: 1 / v))
    if over is not None:
        inverse = add_function(c, node, c.operand(a["other"], node), "reciprocal")
        return product(c, node, inverse, a["self"])
    found = normalised(c, node, a["self"], a["other"])
    return found or _quotient(c, node, a["self"], a["other"])


def _quotient(c: "Converter", node: fx.Node, over: fx.Node, under: fx.Node) -> str:
    """Add the division of two activations, a small number added to the denominator inside it."""
    epsilon = 0.0
    if short_name(under) == "add":
        added = number(arguments(under)["other"])
        if added is not None and 0 < added <= LARGEST_EPSILON:
            epsilon, under = added, arguments(under)["self"]
    inputs = (c.operand(over, node), c.operand(under, node))
    name = f"{c.path(node)}.divide"
    return c.add(name, "divide", inputs, node, attributes={"epsilon": epsilon})


@handles("pow")
def _pow(c: "Converter", node: fx.Node) -> str:
    a = arguments(node)
    exponent = number(a.get("exponent"))
    if exponent is None:
        raise c.unsupported(node, "a power with a computed exponent")
    if exponent == -0.5:
        return inverse_root(c, node)
    names = {2.0: "square", 0.5: "sqrt", -1.0: "reciprocal"}
    function = names.get(exponent, f"power({exponent:g})")
    return add_function(c, node, c.operand(a["self"], node), function)


def value(c: "Converter", operand: Any) -> Constant | None:
    """Return a number or a constant operand as a constant, None for an activation."""
    plain = number(operand)
    if plain is not None:
        tensor = torch.tensor(plain)
        return Constant(tensor, tensor)
    return c.constant(operand)


def scaled(c: "Converter", node: fx.Node, name: str, factor: Tensor, shape: Shape) -> str:
    """Add the product with a single number; return its name."""
    return add_affine(c, node, name, factor.reshape(1), torch.zeros(1), -1, shape)


def _affine(c: "Converter", node: fx.Node, name: str, scale: Tensor, offset: Tensor) -> str | None:
    """Add x * scale + offset where both have one channel axis at most; None where not."""
    shape = c.shape(node)
    if c.nodes[name].shape != shape or max(scale.dim(), offset.dim()) > len(shape):
        return None
    axes = set()
    for tensor in (scale, offset):
        axes |= {d - tensor.dim() for d in range(tensor.dim()) if tensor.shape[d] != 1}
    if len(axes) > 1:
        return None
    axis = axes.pop() if axes else -1
    if isinstance(shape[axis], str):
        return None
    channels = max(scale.numel(), offset.numel())
    values = [tensor.reshape(-1).expand(channels).clone() for tensor in (scale, offset)]
    return add_affine(c, node, name, values[0], values[1], axis, shape)


def add_affine(
    c: "Converter",
    node: fx.Node,
    name: str,
    scale: Tensor,
    offset: Tensor,
    axis: int,
    shape: Shape,
) -> str:
    """Add x * scale + offset along an axis (negative, from the last); return its name."""
    path = f"{c.path(node)}.{short_name(node)}".lstrip(".")
    parameters = {
        "scale": c.tensor(f"{path}.scale", scale.float()),
        "offset": c.tensor(f"{path}.offset", offset.float()),
    }
    attributes = {"axis": axis}
    return c.add(
        path, "affine", (name,), node, shape=shape, attributes=attributes, parameters=parameters
    )
