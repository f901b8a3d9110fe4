"""Division, exact and by the nearest power of two."""

from collections.abc import Mapping, Sequence

from codesign.export.onnx_integer.arithmetic import (
    centred,
    finish,
    floor_quotient,
    floor_shift,
    power_of_two,
    round_log2,
)
from codesign.export.onnx_integer.builder import Builder, per_channel
from codesign.export.onnx_integer.operations.base import converts
from codesign.export.onnx_integer.values import Codes, Integers, Value
from codesign.integer.model import IntegerNode


@converts("divide")
def _divide(b: Builder, node: IntegerNode, t: Mapping[str, Integers], x: Sequence[Codes]) -> Value:
    a = node.attributes
    n, d = centred(b, x[0]), b.add(centred(b, x[1]), a["epsilon"], "denominator")
    if d.low < 0:
        zero = b.compare("Equal", d, 0, "zero")
        negative = b.compare("Less", d, 0, "negative")
        n = b.where(negative, b.subtract(0, n, "negated"), n, "numerator")
        positive = b.where(negative, b.subtract(0, d, "negated"), d, "positive")
        d = b.where(zero, 1, positive, "magnitude").within(1, max(-d.low, d.high, 1))
    d = b.shift_left(b.maximum(d, 1), a["shift"], "denominator")
    dividend = b.add(b.multiply(n, 2 * a["multiplier"], "doubled"), d, "dividend")
    quotient = floor_quotient(b, dividend, b.multiply(d, 2, "divisor"))
    return finish(b, quotient, node.format)


@converts("log2_divide")
def _log2_divide(
    b: Builder, node: IntegerNode, t: Mapping[str, Integers], x: Sequence[Codes]
) -> Value:
    a, f = node.attributes, node.format
    denominator = b.maximum(b.add(centred(b, x[1]), a["epsilon"], "denominator"), 1)
    shift = b.add(round_log2(b, denominator.within(1, 2**62)), a["shift"], "shift")
    if f.shifts:
        shift = b.add(shift, per_channel(f.shifts, f.axis), "shift")
    half = power_of_two(b, b.subtract(shift, 1, "places"))
    scaled = b.multiply(centred(b, x[0]), a["multiplier"], "scaled")
    return finish(b, floor_shift(b, b.add(scaled, half, "rounded"), shift), f)
