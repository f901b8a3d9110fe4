"""Functions of one element."""

import math
from typing import TYPE_CHECKING, Any

from torch import fx

from codesign.graph.aten.base import Constant, arguments, handles, number, short_name, source

if TYPE_CHECKING:
    from codesign.graph.capture import Converter


@handles("silu", "relu", "hardswish", "sigmoid", "hardsigmoid", "tanh", "relu6", "mish", "selu")
@handles("gelu")
def _activation(c: "Converter", node: fx.Node) -> str:
    function = short_name(node)
    if arguments(node).get("approximate", "none") == "tanh":
        function = "gelu_tanh"
    return add_activation(c, node, function)


@handles("exp", "log", "erf", "sin", "cos", "abs", "sqrt", "square", "reciprocal")
@handles("expm1", "log1p")
def _elementary(c: "Converter", node: fx.Node) -> str:
    return add_function(c, node, c.operand(node.args[0], node), short_name(node))


@handles("leaky_relu")
def _leaky_relu(c: "Converter", node: fx.Node) -> str:
    return add_activation(c, node, f"leaky_relu({arguments(node)['negative_slope']:g})")


@handles("prelu", "_prelu_kernel")
def _prelu(c: "Converter", node: fx.Node) -> str:
    slope = c.constant(arguments(node)["weight"])
    if slope is None or slope.value.numel() != 1:
        raise c.unsupported(node, "a PReLU with a slope for each channel")
    return add_activation(c, node, f"leaky_relu({float(slope.value):g})")


@handles("elu", "celu")
def _elu(c: "Converter", node: fx.Node) -> str:
    a = arguments(node)
    odd = (a.get("scale", 1), a.get("input_scale", 1)) != (1, 1)
    if odd or ("celu" in str(node.target) and a["alpha"] != 1.0):
        raise c.unsupported(node, "an ELU with scales of its own")
    return add_activation(c, node, f"elu({a['alpha']:g})")


@handles("softplus")
def _softplus(c: "Converter", node: fx.Node) -> str:
    a = arguments(node)
    if a["beta"] != 1:
        raise c.unsupported(node, f"softplus with beta {a['beta']}")
    return add_activation(c, node, "softplus")


@handles("hardtanh", "clamp", "clamp_min", "clamp_max", "clip")
def _clamp(c: "Converter", node: fx.Node) -> str:
    a = arguments(node)
    low = _limit(c, node, a.get("min_val", a.get("min")), -math.inf)
    high = _limit(c, node, a.get("max_val", a.get("max")), math.inf)
    if (low, high) == (-math.inf, math.inf):
        return c.operand(source(node), node)
    if (low, high) in ((0, math.inf), (0, 6)):
        return add_activation(c, node, "relu" if high == math.inf else "relu6")
    return add_function(c, node, c.operand(node.args[0], node), f"clamp({low:.9g},{high:.9g})")


def _limit(c: "Converter", node: fx.Node, limit: Any, otherwise: float) -> float:
    """Return a limit of a clamp: a number, a constant of one element, or none."""
    if limit is None:
        return otherwise
    constant = c.constant(limit)
    plain = number(limit) if constant is None else _single(constant)
    if plain is None:
        raise c.unsupported(node, "clamping to a tensor")
    return plain


def _single(constant: Constant) -> float | None:
    return float(constant.value) if constant.value.numel() == 1 else None


def add_activation(c: "Converter", node: fx.Node, function: str) -> str:
    """Add an activation function, called by its module's path."""
    name = c.path(node) or function
    operand = c.operand(source(node), node)
    return c.add(name, "activation", (operand,), node, attributes={"function": function})


def add_function(c: "Converter", node: fx.Node, operand: str, function: str) -> str:
    """Add an elementary function, which no design may exchange; return its name."""
    name = f"{c.path(node)}.{function.split('(')[0]}".lstrip(".")
    shape = c.nodes[operand].shape
    attributes = {"function": function}
    return c.add(name, "function", (operand,), node, shape=shape, attributes=attributes)
