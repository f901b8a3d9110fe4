"""Softmax of every kind: the float operator, and the levels of the kind's codes."""

import math
from collections.abc import Sequence

import numpy as np
from onnx import TensorProto

from codesign.export.onnx_float.base import Mirror, Real, emits, real_values, unseen
from codesign.integer.model import IntegerNode

WIDE_BITS = 15
"""Fraction bits of the probabilities that the thresholds of `codebook_softmax` are compared to."""


@emits("softmax")
def softmax(b: Mirror, node: IntegerNode, inputs: Sequence[Real]) -> str:
    """Write a Softmax."""
    result = b.add("Softmax", [inputs[0].name], axis=-1)
    return b.scaled(result, node.attributes["levels"] * node.format.scale, unseen(node.format))


@emits("shiftmax")
def shiftmax(b: Mirror, node: IntegerNode, inputs: Sequence[Real]) -> str:
    """Write a Softmax less half a step: the integer form takes the floor of its quotients."""
    fmt = node.format
    result = b.add("Softmax", [inputs[0].name], axis=-1)
    result = b.scaled(result, 2 ** (fmt.bits - 1) * fmt.scale, unseen(fmt))
    return b.add("Sub", [result, b.number(fmt.scale / 2, "half_a_step")])


@emits("codebook_softmax")
def codebook_softmax(b: Mirror, node: IntegerNode, inputs: Sequence[Real]) -> str:
    """Write a Softmax, rounded to 15 fraction bits, and a table of the level of each of those."""
    t = b.tensors()
    levels = np.searchsorted(t["thresholds"], np.arange(2**WIDE_BITS + 1), side="right")
    values = real_values(t["codes"], node.format)
    wide = b.add("Softmax", [inputs[0].name], axis=-1)
    wide = b.add("Round", [b.add("Mul", [wide, b.number(2**WIDE_BITS, "one")])])
    place = b.add("Cast", [wide], to=TensorProto.INT64)
    table = b.constant(levels.astype(np.uint8), "levels")
    level = b.add("Cast", [b.add("Gather", [table, place])], to=TensorProto.INT64)
    return b.add("Gather", [b.number(values, "values"), level])


@emits("log_int_softmax")
def log_int_softmax(b: Mirror, node: IntegerNode, inputs: Sequence[Real]) -> str:
    """Write a LogSoftmax and the power of two near the probability p, or zero.

    Its exponent is floor(log2(1 / (1.5 p))) + 1: up from 1.5 * 2**k, as in the integer form.
    """
    top = node.attributes["largest_exponent"]
    codes = np.append(np.arange(top + 1), node.format.high)
    logarithm = b.add("LogSoftmax", [inputs[0].name], axis=-1)
    octaves = b.add("Mul", [logarithm, b.number(-1 / math.log(2), "per_octave")])
    exponent = b.add("Floor", [b.add("Add", [octaves, b.number(1 - math.log2(1.5), "threshold")])])
    limited = b.add("Clip", [exponent, b.number(0, "smallest"), b.number(top + 1, "zero")])
    place = b.add("Cast", [limited], to=TensorProto.INT64)
    return b.add("Gather", [b.number(real_values(codes, node.format), "values"), place])
