"""What works element by element: sums, products, rescaling, division."""

import math
from collections.abc import Sequence

import numpy as np

from codesign.export.onnx_float.base import (
    UNSEEN,
    Mirror,
    Real,
    along,
    dyadic,
    emits,
    steps,
    unseen,
)
from codesign.integer.model import IntegerNode

MARGIN = 0.25
"""Added to whole numbers in front of a logarithm, so that its rounding passes no threshold."""


@emits("mul")
def mul(b: Mirror, node: IntegerNode, inputs: Sequence[Real]) -> str:
    """Write a Mul."""
    left, right = inputs
    factor = dyadic(node.attributes) * node.format.scale / left.format.scale / right.format.scale
    return b.scaled(b.add("Mul", [left.name, right.name]), factor, unseen(node.format))


@emits("requantize")
def requantize(b: Mirror, node: IntegerNode, inputs: Sequence[Real]) -> str:
    """Write a Max with the smallest value, which the rounding would clip anyway, and the factor.

    Of two quantisers in a row ONNX Runtime would make one, of a third scale. It takes a Relu or a
    Clip that the second one repeats for nothing; a Max it leaves.
    """
    target = node.format
    factor = dyadic(node.attributes) * target.scale / inputs[0].format.scale
    value = b.scaled(inputs[0].name, factor, unseen(target))
    lowest = (target.low - target.zero_point) * steps(target)
    return b.add("Max", [value, b.number(lowest, "smallest")])


@emits("add")
def add(b: Mirror, node: IntegerNode, inputs: Sequence[Real]) -> str:
    """Write an Add."""
    operands = []
    for x, multiplier in zip(inputs, node.attributes["multipliers"], strict=True):
        ratio = math.ldexp(multiplier, -node.attributes["shift"])
        exact = x.format.scale / node.format.scale
        allowed = UNSEEN / (x.format.magnitude * exact)
        operands.append(b.scaled(x.name, ratio / exact, allowed))
    return b.add("Add", operands)


@emits("affine")
def affine(b: Mirror, node: IntegerNode, inputs: Sequence[Real]) -> str:
    """Write a Mul and an Add by channel."""
    t, axis = b.tensors(), node.attributes["axis"]
    factor, offset = (
        along(np.ldexp(t[role].astype(np.float64), -t["shift"]) * node.format.scale, axis)
        for role in ("multiplier", "offset")
    )
    scaled = b.add("Mul", [inputs[0].name, b.number(factor / inputs[0].format.scale, "scale")])
    return b.add("Add", [scaled, b.number(offset, "offset")])


@emits("divide")
def divide(b: Mirror, node: IntegerNode, inputs: Sequence[Real]) -> str:
    """Write a Div; a denominator of no step counts as one step."""
    step = inputs[1].format.scale
    below = _denominator(b, inputs[1].name, node.attributes["epsilon"] * step)
    empty = b.add("Less", [b.add("Abs", [below]), b.number(step / 2, "half_a_step")])
    below = b.add("Where", [empty, b.number(step, "step"), below])
    factor = dyadic(node.attributes) * node.format.scale * step / inputs[0].format.scale
    quotient = b.add("Div", [inputs[0].name, below])
    return b.scaled(quotient, factor, unseen(node.format))


def _denominator(b: Mirror, value: str, epsilon: float) -> str:
    return b.add("Add", [value, b.number(epsilon, "epsilon")]) if epsilon else value


@emits("log2_divide")
def log2_divide(b: Mirror, node: IntegerNode, inputs: Sequence[Real]) -> str:
    """Write a product with the power of two near the denominator, 1.5 * 2**i and more going up.

    With x the denominator in steps, at least 1, its exponent is floor(log2(x / 1.5)) + 1.
    """
    a = node.attributes
    whole = b.add("Mul", [inputs[1].name, b.number(1 / inputs[1].format.scale, "steps")])
    whole = b.add("Max", [_denominator(b, whole, a["epsilon"]), b.number(1, "one")])
    logarithm = b.add("Log", [b.add("Add", [whole, b.number(MARGIN, "margin")])])
    logarithm = b.add("Mul", [logarithm, b.number(1 / math.log(2), "per_octave")])
    place = b.add("Floor", [b.add("Add", [logarithm, b.number(1 - math.log2(1.5), "threshold")])])
    power = b.add("Pow", [b.number(0.5, "base"), place])
    factor = dyadic(a) * node.format.scale / inputs[0].format.scale
    return b.scaled(b.add("Mul", [inputs[0].name, power]), factor, 0.0)
