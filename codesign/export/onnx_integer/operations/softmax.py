"""Softmax in its integer kinds, over the last axis."""

from collections.abc import Mapping, Sequence

import numpy as np

from codesign.export.onnx_integer.arithmetic import count_reached, log2_thresholds
from codesign.export.onnx_integer.builder import Builder
from codesign.export.onnx_integer.operations.base import converts
from codesign.export.onnx_integer.operations.elementwise import minus_power
from codesign.export.onnx_integer.values import Codes, Integers, Value, storage
from codesign.integer.model import IntegerNode


@converts("softmax")
def _softmax(b: Builder, node: IntegerNode, t: Mapping[str, Integers], x: Sequence[Codes]) -> Value:
    levels = node.attributes["levels"]
    return b.cast(_probabilities(b, t["table"], x[0], levels), storage(node.format))


@converts("codebook_softmax")
def _codebook_softmax(
    b: Builder, node: IntegerNode, t: Mapping[str, Integers], x: Sequence[Codes]
) -> Value:
    wide = _probabilities(b, t["table"], x[0], 1 << 15)
    place = count_reached(b, wide, t["thresholds"].tolist(), "place")
    return b.read(t["codes"], place, "codes", storage(node.format))


def _probabilities(b: Builder, table: Integers, x: Codes, levels: int) -> Value:
    """Return levels * e / sum of e, rounded half up."""
    e = b.read(table.astype(np.int64), _distances(b, x), "exponential")
    total = b.sum(e, [-1], x.length(-1)).within(int(table[0]), 2**62)
    dividend = b.add(b.multiply(e, 2 * levels, "doubled"), total, "dividend")
    quotient = b.quotient(dividend, b.multiply(total, 2, "divisor"), "probability")
    return quotient.within(0, levels)


def _distances(b: Builder, x: Codes) -> Value:
    """Return how far each code lies below the largest of its row."""
    wide = b.cast(x.value, "int32")
    distance = b.subtract(b.largest(wide, [-1]), wide, "distance")
    return distance.within(0, x.format.high - x.format.low)


@converts("log_int_softmax")
def _log_int_softmax(
    b: Builder, node: IntegerNode, t: Mapping[str, Integers], x: Sequence[Codes]
) -> Value:
    a = node.attributes
    wide = b.shift_left(_distances(b, x[0]), a["distance_shift"], "distance")
    d = b.minimum(wide, a["limit"] * a["unit"])
    whole, rest = _split(b, d, a["unit"])
    polynomial = b.multiply(rest, b.subtract(rest, a["linear"], "moved"), "polynomial")
    r = np.arange(a["unit"], dtype=np.int64)
    every = r * (r - a["linear"]) + a["constant"]
    polynomial = b.add(polynomial, a["constant"], "polynomial").within(*_ends(every))
    e = b.shift_left(polynomial, b.subtract(a["limit"], whole, "room"), "exponential")
    total = b.sum(e, [-1], x[0].length(-1))
    double = b.multiply(e, 2, "divisor")
    ratio = b.quotient(b.add(b.multiply(total, 2), e, "dividend"), double, "ratio")
    largest = a["largest_exponent"]
    place = count_reached(b, ratio, log2_thresholds(largest + 1), "exponent")
    table = np.array([*range(largest + 1), node.format.high])
    return b.read(table, place, "codes", storage(node.format))


@converts("shiftmax")
def _shiftmax(
    b: Builder, node: IntegerNode, t: Mapping[str, Integers], x: Sequence[Codes]
) -> Value:
    a, unit = node.attributes, node.attributes["unit"]
    v = b.shift_left(_distances(b, x[0]), a["distance_shift"], "distance")
    power = b.minimum(minus_power(b, v), a["limit"] * unit)
    whole, rest = _split(b, power, unit)
    linear = b.shift_left(b.subtract(2 * unit, rest, "linear"), a["limit"] - 1, "wide")
    e = b.shift_right(linear, whole, "exponential")
    total = b.sum(e, [-1], x[0].length(-1)).within(unit << a["limit"], 2**62)
    share = b.quotient(1 << 31, total, "reciprocal")
    product = b.multiply(share, e).within(0, 1 << 31)
    codes = b.shift_right(product, 32 - node.format.bits, "codes")
    return b.cast(codes.within(0, node.format.high), storage(node.format))


def _split(b: Builder, x: Value, unit: int) -> tuple[Value, Value]:
    """Return the whole units in x >= 0 and what remains."""
    whole = b.quotient(x, unit, "whole")
    rest = b.subtract(x, b.multiply(whole, unit), "rest").within(0, unit - 1)
    return whole, rest


def _ends(values: Integers) -> tuple[int, int]:
    return int(values.min()), int(values.max())
