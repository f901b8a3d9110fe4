"""Chains of operations that are one: rows divided by their norm or their root mean square."""

import math
from typing import TYPE_CHECKING, Any

from torch import fx

from codesign.graph.aten.activations import add_function
from codesign.graph.aten.base import arguments, handles, number, rank, short_name
from codesign.graph.aten.moves import add_permute

if TYPE_CHECKING:
    from codesign.graph.capture import Converter

_PASSING = frozenset({"expand_as", "expand", "to", "clone", "_to_copy", "type_as"})
_SMALLEST = 1e-24
"""Mean square that keeps a row of zeros from dividing by zero."""


def normalised(c: "Converter", node: fx.Node, x: Any, other: Any) -> str | None:
    """Return the rms_norm that `x / norm(x)` or `x * rsqrt(mean(x**2) + epsilon)` is, or None."""
    if not isinstance(x, fx.Node) or not isinstance(other, fx.Node):
        return None
    other = _through(other)
    dividing = short_name(node) in ("div", "true_divide")
    found = _norm(c, x, other) if dividing else _inverse_root_mean(c, x, other)
    if dividing and found is None and short_name(other) == "sqrt":
        found = _root_mean(c, x, _through(arguments(other)["self"]))
    if found is None:
        return None
    axis, epsilon, factor = found
    return add_rms_norm(c, node, c.operand(x, node), axis, epsilon, factor)


def _through(node: fx.Node) -> fx.Node:
    while short_name(node) in _PASSING:
        node = node.args[0]  # type: ignore[assignment]
    return node


def _same(c: "Converter", left: fx.Node, right: Any) -> bool:
    return isinstance(right, fx.Node) and c.value.get(_through(left)) == c.value.get(
        _through(right)
    )


def _norm(c: "Converter", x: fx.Node, under: fx.Node) -> tuple[int, float, float] | None:
    """Match max(||x||, epsilon) or ||x|| (+ epsilon)."""
    epsilon = 1e-12
    if short_name(under) in ("clamp_min", "clamp", "add"):
        a = arguments(under)
        limit = number(a.get("min", a.get("other")))
        if limit is None or a.get("max") is not None:
            return None
        epsilon, under = max(limit, epsilon), _through(a["self"])
    if short_name(under) not in ("linalg_vector_norm", "norm"):
        return None
    a = arguments(under)
    order, dims = number(a.get("ord", a.get("p"))), a["dim"]
    if order != 2 or not dims or len(dims) != 1 or not a["keepdim"] or not _same(c, x, a["self"]):
        return None
    axis = dims[0] % rank(under)
    count = x.meta["val"].shape[axis]
    return axis, max(epsilon**2 / count, _SMALLEST), 1 / math.sqrt(count)


def _inverse_root_mean(
    c: "Converter", x: fx.Node, other: fx.Node
) -> tuple[int, float, float] | None:
    name = short_name(other)
    if name == "rsqrt" or (name == "pow" and arguments(other).get("exponent") == -0.5):
        return _root_mean(c, x, _through(arguments(other)["self"]))
    return None


def _root_mean(c: "Converter", x: fx.Node, inner: fx.Node) -> tuple[int, float, float] | None:
    """Match mean(x**2) + epsilon."""
    epsilon = _SMALLEST
    if short_name(inner) == "add":
        added = number(arguments(inner)["other"])
        if added is None:
            return None
        epsilon, inner = added, _through(arguments(inner)["self"])
    if short_name(inner) != "mean":
        return None
    a = arguments(inner)
    squares = _through(a["self"])
    axis = a["dim"][0] % rank(inner) if a.get("dim") and len(a["dim"]) == 1 else None
    if axis is None or not a["keepdim"] or not _is_square_of(c, x, squares):
        return None
    return axis, max(epsilon, _SMALLEST), 1.0


def _is_square_of(c: "Converter", x: fx.Node, squares: fx.Node) -> bool:
    a = arguments(squares)
    if short_name(squares) == "pow":
        return number(a.get("exponent")) == 2 and _same(c, x, a["self"])
    if short_name(squares) == "square":
        return _same(c, x, a["self"])
    return short_name(squares) == "mul" and _same(c, x, a["self"]) and _same(c, x, a["other"])


@handles("rsqrt")
def inverse_root(c: "Converter", node: fx.Node) -> str:
    """Add 1 / sqrt(x) as a function of its own; unused where the chain around it is matched."""
    return add_function(c, node, c.operand(node.args[0], node), "rsqrt")


@handles("linalg_vector_norm", "norm")
def _vector_norm(c: "Converter", node: fx.Node) -> str:
    """Add sqrt(sum(x**2)); unused where it divides its own rows."""
    a = arguments(node)
    if number(a.get("ord", a.get("p"))) != 2 or not a["dim"]:
        raise c.unsupported(node, "a norm of another order than two")
    name = c.operand(a["self"], node)
    square = add_function(c, node, name, "square")
    shape = c.nodes[name].shape
    dims = sorted(d % len(shape) for d in a["dim"])
    count = math.prod(shape[d] for d in dims)
    attributes = {"dims": dims, "keep": bool(a["keepdim"]), "factor": float(count)}
    total = c.add(f"{c.path(node)}.sum", "mean", (square,), node, attributes=attributes)
    return add_function(c, node, total, "sqrt")


@handles("rms_norm")
def _rms_norm(c: "Converter", node: fx.Node) -> str:
    a = arguments(node)
    if len(a["normalized_shape"]) != 1:
        raise c.unsupported(node, "rms_norm over several dimensions")
    weight = c.constant(a["weight"])
    parameters = {} if weight is None else {"weight": c.parameter(weight, node, "weight")}
    epsilon = a["eps"] if a["eps"] is not None else 1.1920929e-07
    attributes = {"epsilon": float(epsilon), "factor": 1.0}
    name = c.path(node) or "rms_norm"
    operand = c.operand(a["input"], node)
    return c.add(name, "rms_norm", (operand,), node, attributes=attributes, parameters=parameters)


def add_rms_norm(
    c: "Converter", node: fx.Node, name: str, axis: int, epsilon: float, factor: float
) -> str:
    """Add factor * x / sqrt(mean(x**2) + epsilon) along an axis; return its name."""
    shape = c.nodes[name].shape
    order = [*(d for d in range(len(shape)) if d != axis), axis]
    name = add_permute(c, node, name, order)
    attributes = {"epsilon": epsilon, "factor": factor}
    path = f"{c.path(node)}.normalize".lstrip(".")
    shape = c.nodes[name].shape
    name = c.add(path, "rms_norm", (name,), node, shape=shape, attributes=attributes)
    back = [order.index(d) for d in range(len(order))]
    return add_permute(c, node, name, back)
