"""Activation functions: ONNX operators where there are such, tables where there are none."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import TensorProto

from codesign.export.onnx_float.base import (
    UNSEEN,
    Mirror,
    Real,
    Values,
    dyadic,
    emits,
    real_values,
    steps,
    unseen,
)
from codesign.integer.model import IntegerNode

Function = Callable[[Mirror, str, list[float]], str]
FUNCTIONS: dict[str, Function] = {}
"""Functions of the integer model's tables by name; numbers behind a name are handed over."""


def _function(name: str) -> Callable[[Function], Function]:
    def decorate(function: Function) -> Function:
        FUNCTIONS[name] = function
        return function

    return decorate


def _operator(op: str, **attributes: Any) -> Function:
    return lambda b, x, numbers: b.add(op, [x], **attributes)


FUNCTIONS.update(
    gelu=_operator("Gelu"),
    gelu_tanh=_operator("Gelu", approximate="tanh"),
    sigmoid=_operator("Sigmoid"),
    hardsigmoid=_operator("HardSigmoid", alpha=1 / 6, beta=0.5),
    tanh=_operator("Tanh"),
    selu=_operator("Selu"),
    softplus=_operator("Softplus"),
    mish=_operator("Mish"),
    exp=_operator("Exp"),
    erf=_operator("Erf"),
    sin=_operator("Sin"),
    cos=_operator("Cos"),
    abs=_operator("Abs"),
)


@_function("silu")
def _silu(b: Mirror, x: str, numbers: list[float]) -> str:
    return b.add("Mul", [x, b.add("Sigmoid", [x])])


@_function("relu6")
def _relu6(b: Mirror, x: str, numbers: list[float]) -> str:
    return _clamp(b, x, [0.0, 6.0])


@_function("clamp")
def _clamp(b: Mirror, x: str, numbers: list[float]) -> str:
    low, high = numbers  # Max and Min: see `requantize`
    above = b.add("Max", [x, b.number(low, "smallest")])
    return b.add("Min", [above, b.number(high, "largest")])


@_function("relu")
def _relu(b: Mirror, x: str, numbers: list[float]) -> str:
    return b.add("Max", [x, b.number(0.0, "smallest")])


@_function("leaky_relu")
def _leaky_relu(b: Mirror, x: str, numbers: list[float]) -> str:
    return b.add("LeakyRelu", [x], alpha=numbers[0] if numbers else 0.01)


@_function("elu")
def _elu(b: Mirror, x: str, numbers: list[float]) -> str:
    return b.add("Elu", [x], alpha=numbers[0] if numbers else 1.0)


@_function("square")
def _square(b: Mirror, x: str, numbers: list[float]) -> str:
    return b.add("Mul", [x, x])


@_function("sqrt")
def _sqrt(b: Mirror, x: str, numbers: list[float]) -> str:
    return b.add("Sqrt", [b.add("Relu", [x])])


@emits("lookup")
def lookup(b: Mirror, node: IntegerNode, inputs: Sequence[Real]) -> str:
    """Write the function if it has an operator and its result even steps, else read the table."""
    name, _, numbers = node.attributes.get("function", "").rstrip(")").partition("(")
    if name in FUNCTIONS and not node.format.codebook:
        return FUNCTIONS[name](b, inputs[0].name, [float(n) for n in numbers.split(",") if n])
    plain = dataclasses.replace(node.format, shifts=())
    index, places = _index(b, inputs[0])
    values = real_values(b.tensors()["table"], plain)[places]
    result = b.add("Gather", [b.number(values, "table"), index])
    if not node.format.shifts:
        return result
    return b.add("Mul", [result, b.number(steps(node.format) / node.format.scale, "factor")])


def _index(b: Mirror, x: Real) -> tuple[str, Values]:
    """Return where real values stand in a table, int64, and the code (from 0) of each place.

    With a codebook a place is a whole number from the smallest on; those that no code stands for
    are never read and hold the first code.
    """
    fmt = x.format
    if fmt.codebook:
        first = min(fmt.codebook)
        places = np.zeros(max(fmt.codebook) - first + 1, dtype=np.int64)
        places[np.asarray(fmt.codebook) - first] = np.arange(len(fmt.codebook))
    else:
        first, places = fmt.low - fmt.zero_point, np.arange(2**fmt.bits)
    step = fmt.scale if fmt.codebook else steps(fmt)
    whole = b.add("Round", [b.add("Div", [x.name, b.number(step, "step")])])
    moved = b.add("Sub", [whole, b.number(first, "first")]) if first else whole
    return b.add("Cast", [moved], to=TensorProto.INT64), places


@emits("hardswish")
def hardswish(b: Mirror, node: IntegerNode, inputs: Sequence[Real]) -> str:
    """Write a HardSwish, or x * HardSigmoid(x) where the 3 was rounded visibly.

    With t the real value of the integer that stands for 3, x * clip((x + t) / (2 t), 0, 1); its
    derivative by t is at most a half in magnitude.
    """
    x, three = inputs[0], node.attributes["three"] * inputs[0].format.scale
    if abs(three - 3.0) / 2 <= UNSEEN * node.format.scale:
        result = b.add("HardSwish", [x.name])
    else:
        gate = b.add("HardSigmoid", [x.name], alpha=0.5 / three, beta=0.5)
        result = b.add("Mul", [x.name, gate])
    exact = x.format.scale / (2 * node.attributes["three"] * node.format.scale)
    return b.scaled(result, dyadic(node.attributes) / exact, unseen(node.format))


@emits("shift_swish", "shift_gelu")
def shift_swish(b: Mirror, node: IntegerNode, inputs: Sequence[Real]) -> str:
    """Write x * sigmoid(k x), k as rounded; the shifts' own approximation is not copied."""
    x = inputs[0]
    slope = 1 / (node.attributes["unit"] * x.format.scale)
    gate = b.add("Sigmoid", [b.scaled(x.name, slope, 2 * UNSEEN * node.format.scale)])
    exact = x.format.scale / 2**8 / node.format.scale
    result = b.add("Mul", [x.name, gate])
    return b.scaled(result, dyadic(node.attributes) / exact, unseen(node.format))
