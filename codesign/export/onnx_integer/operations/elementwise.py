"""What works element by element: sums, products, factors, tables and activation functions."""

from collections.abc import Mapping, Sequence

from codesign.export.onnx_integer.arithmetic import centred, requantize
from codesign.export.onnx_integer.builder import Builder, per_channel
from codesign.export.onnx_integer.operations.base import converts
from codesign.export.onnx_integer.values import Codes, Integers, Value, storage
from codesign.integer.model import IntegerNode

EXPONENTIAL_BITS = 20
SIGMOID_BITS = 8


@converts("add")
def _add(b: Builder, node: IntegerNode, t: Mapping[str, Integers], x: Sequence[Codes]) -> Value:
    factors = node.attributes["multipliers"]
    left, right = (b.multiply(centred(b, v), m, "scaled") for v, m in zip(x, factors, strict=True))
    return requantize(b, b.add(left, right), 1, node.attributes["shift"], node.format)


@converts("mul")
def _mul(b: Builder, node: IntegerNode, t: Mapping[str, Integers], x: Sequence[Codes]) -> Value:
    a, product = node.attributes, b.multiply(centred(b, x[0]), centred(b, x[1]))
    return requantize(b, product, a["multiplier"], a["shift"], node.format)


@converts("requantize")
def _requantize(
    b: Builder, node: IntegerNode, t: Mapping[str, Integers], x: Sequence[Codes]
) -> Value:
    a = node.attributes
    return requantize(b, centred(b, x[0]), a["multiplier"], a["shift"], node.format)


@converts("affine")
def _affine(b: Builder, node: IntegerNode, t: Mapping[str, Integers], x: Sequence[Codes]) -> Value:
    axis = node.attributes["axis"]
    m, offset, shift = (per_channel(t[role], axis) for role in ("multiplier", "offset", "shift"))
    scaled = b.multiply(centred(b, x[0]), b.stored(m, "multiplier"), "scaled")
    return requantize(b, b.add(scaled, b.stored(offset, "offset"), "moved"), 1, shift, node.format)


@converts("lookup")
def _lookup(b: Builder, node: IntegerNode, t: Mapping[str, Integers], x: Sequence[Codes]) -> Value:
    index = b.subtract(x[0].value, x[0].format.low, "index")
    return b.read(t["table"], index, "codes", storage(node.format))


@converts("hardswish")
def _hardswish(
    b: Builder, node: IntegerNode, t: Mapping[str, Integers], x: Sequence[Codes]
) -> Value:
    a, value = node.attributes, centred(b, x[0])
    moved = b.add(value, a["three"], "moved")
    factor = b.minimum(b.maximum(moved, 0), 2 * a["three"])
    product = b.multiply(value, factor)
    return requantize(b, product, a["multiplier"], a["shift"], node.format)


@converts("shift_swish", "shift_gelu")
def _shift_swish(
    b: Builder, node: IntegerNode, t: Mapping[str, Integers], x: Sequence[Codes]
) -> Value:
    a, value = node.attributes, centred(b, x[0])
    one = a["unit"] << EXPONENTIAL_BITS
    negative = b.compare("Less", value, 0, "negative")
    magnitude = b.where(negative, b.subtract(0, value, "negated"), value, "magnitude")
    peak = max(value.high, -value.low)
    e = _shift_exp(b, magnitude.within(0, peak), a["unit"])
    above = b.shift_left(b.where(negative, e, one, "above"), SIGMOID_BITS, "above")
    sigmoid = b.quotient(above, b.add(e, one, "below"), "sigmoid")
    product = b.multiply(value, sigmoid.within(0, 1 << SIGMOID_BITS))
    return requantize(b, product, a["multiplier"], a["shift"], node.format)


def _shift_exp(b: Builder, v: Value, unit: int) -> Value:
    """Return unit * 2**20 * exp(-v / unit) for v >= 0, by shifts and additions."""
    power = minus_power(b, v)
    whole = b.quotient(power, unit, "whole")
    rest = b.subtract(power, b.multiply(whole, unit), "rest").within(0, unit - 1)
    linear = b.subtract(unit, b.shift_right(rest, 1), "linear")
    wide = b.shift_left(linear, EXPONENTIAL_BITS, "wide")
    return b.shift_right(wide, b.minimum(whole, 62), "exponential")


def minus_power(b: Builder, v: Value) -> Value:
    """Return v * (1 + 1/2 - 1/16), about log2(e) * v, for v >= 0.

    The specification has -(-v + (-v >> 1) - (-v >> 4)); -(-v >> k) is v / 2**k rounded up.
    """
    half, sixteenth = (b.shift_right(b.add(v, 2**k - 1), k, "part") for k in (1, 4))
    power = b.subtract(b.add(v, half, "power"), sixteenth, "power")
    return power.within(0, 2 * v.high)


@converts("concat")
def _concat(b: Builder, node: IntegerNode, t: Mapping[str, Integers], x: Sequence[Codes]) -> Value:
    names = [b.cast(operand.value, storage(node.format)).name for operand in x]
    name = b.emit("Concat", names, "codes", axis=node.attributes["dim"])
    return codes(name, node)


@converts("constant")
def _constant(
    b: Builder, node: IntegerNode, t: Mapping[str, Integers], x: Sequence[Codes]
) -> Value:
    dtype = storage(node.format)
    return codes(b.emit("Identity", [b.constant(t["value"], dtype, "value")], "codes"), node)


def codes(name: str, node: IntegerNode) -> Value:
    """Return a tensor as the codes of a node."""
    return Value(name, storage(node.format), node.format.low, node.format.high)
