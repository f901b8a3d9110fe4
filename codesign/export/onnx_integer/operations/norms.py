"""LayerNorms, group norms and root mean squares, by integer roots and reciprocals."""

from collections.abc import Mapping, Sequence

import numpy as np

from codesign.export.onnx_integer.arithmetic import (
    bit_length,
    centred,
    finish,
    floor_quotient,
    floor_shift,
    integer_sqrt,
    power_of_two,
    requantize,
    rounded,
)
from codesign.export.onnx_integer.builder import Builder, per_channel
from codesign.export.onnx_integer.operations.base import converts
from codesign.export.onnx_integer.operations.moves import sizes
from codesign.export.onnx_integer.values import Codes, Integers, Value
from codesign.integer.model import IntegerNode
from codesign.numerics.group_norm import normal_limit

Tensors = Mapping[str, Integers]


@converts("layer_norm")
def _layer_norm(b: Builder, node: IntegerNode, t: Tensors, x: Sequence[Codes]) -> Value:
    a, value, count = node.attributes, centred(b, x[0]), x[0].length(-1)
    total = b.sum(value, [-1], count)
    variance = b.add(_spread(b, value, count, total), a["epsilon"], "variance")
    deviation = b.subtract(b.multiply(value, count, "multiple"), total, "deviation")
    normal = _normal(b, deviation, variance, count)
    scaled = b.multiply(normal, b.stored(t["scale"], "scale"), "scaled")
    moved = b.add(scaled, b.stored(t["offset"], "offset"), "moved")
    return rounded(b, moved, a["shift"], node.format)


@converts("group_norm", "rms_norm")
def _group_norm(b: Builder, node: IntegerNode, t: Tensors, x: Sequence[Codes]) -> Value:
    a, value, groups = node.attributes, centred(b, x[0]), node.attributes.get("groups")
    rank, count = len(node.shape), x[0].length(-1)
    if groups is not None:
        count = int(np.prod([x[0].length(dim) for dim in range(1, rank)])) // groups
        value = b.reshape(value, [0, groups, -1])
    total = b.sum(value, [-1], count) if groups is not None else 0
    spread = b.shift_right(_spread(b, value, count, total), 2 * a["row_shift"], "spread")
    multiple = b.subtract(b.multiply(value, count, "multiple"), total, "deviation")
    deviation = floor_shift(b, multiple, a["row_shift"], "deviation")
    normal = _normal(b, deviation, b.add(spread, a["epsilon"], "variance"), count)
    if groups is not None:
        normal = b.reshape(normal, sizes(node.shape))
    axis = -1 if groups is None else 1 - rank
    scale, offset = (b.stored(per_channel(t[r], axis), r) for r in ("scale", "offset"))
    moved = b.add(b.multiply(normal, scale, "scaled"), offset, "moved")
    return requantize(b, moved, 1, a["shift"], node.format)


def _spread(b: Builder, x: Value, count: int, total: Value | int) -> Value:
    """Return C * sum of x**2 - S**2, which is C**2 times the variance: at most (C * range / 2)**2.

    Source of the bound: Popoviciu's inequality on variances.
    """
    squares = b.sum(b.square(x), [-1], count)
    product = b.multiply(squares, count, "squares")
    if not isinstance(total, Value):
        return product
    limit = (count * (x.high - x.low)) ** 2 // 4
    return b.subtract(product, b.square(total), "spread").within(0, limit)


def _normal(b: Builder, deviation: Value, variance: Value, count: int) -> Value:
    """Return about 2**10 * deviation / sqrt(variance), by one reciprocal a row."""
    root = integer_sqrt(b, b.multiply(variance.within(1, 2**62), 1 << 12, "fine"))
    reciprocal = b.quotient(1 << 40, root, "reciprocal")
    product = b.multiply(deviation, reciprocal)
    limit = normal_limit(count)
    return floor_shift(b, product, 24, "normal", addend=1 << 23).within(-limit, limit)


@converts("layer_norm_8bit")
def _layer_norm_8bit(b: Builder, node: IntegerNode, t: Tensors, x: Sequence[Codes]) -> Value:
    value, count = centred(b, x[0]), x[0].length(-1)
    g, h, offset = (t[role].astype(np.int64) for role in ("mantissa", "exponent", "offset"))
    total = b.sum(value, [-1], count)
    variance = b.add(_spread(b, value, count, total), node.attributes["epsilon"], "variance")
    half, reciprocal = _reciprocal(b, variance.within(1, 2**62))
    product = b.multiply(reciprocal, b.stored(np.abs(g), "magnitude"))
    places = b.subtract(b.stored(h, "exponent"), half, "places")
    room = b.subtract(b.add(places, 69), bit_length(b, product), "room")
    # A channel without a factor shifts by nothing.
    n = b.minimum(b.maximum(room, 0), b.stored(np.where(g == 0, 0, 31), "most"), "n")
    shift = b.maximum(b.subtract(b.add(places, 37), n, "excess"), 0)
    a = b.minimum(b.shift_right(product, b.minimum(shift, 62), "a"), 2**32 - 1)
    sign = b.stored(np.sign(g), "sign")
    bias = _bias(b, offset, n, b.multiply(b.multiply(a, total, "moved"), sign, "signed"), count)
    factor = b.multiply(b.shift_right(a, 24, "m"), sign, "factor")
    rounding = b.shift_right(power_of_two(b, n), 1, "half")
    scaled = b.add(b.add(b.multiply(factor, value), bias, "biased"), rounding, "rounded")
    return finish(b, floor_shift(b, scaled, n, "normal"), node.format)


def _reciprocal(b: Builder, variance: Value) -> tuple[Value, Value]:
    """Return t / 2 and 2**61 // isqrt(variance << t) + 1, with 2**60 <= variance << t < 2**62."""
    half = b.shift_right(b.subtract(62, bit_length(b, variance), "free"), 1, "half_places")
    even = b.multiply(half, 2, "places")
    filled = b.shift_left(variance, even, "filled", limits=(2**60, 2**62 - 1))
    root = integer_sqrt(b, filled)
    return half, b.add(b.quotient(1 << 61, root, "reciprocal"), 1, "reciprocal")


def _bias(b: Builder, offset: Integers, n: Value, moved: Value, count: int) -> Value:
    """Return ((b << N) - moved // (2**8 * C) + 2**15) >> 16."""
    wide = b.multiply(power_of_two(b, n), b.stored(offset, "offset"), "offset")
    mean = floor_quotient(b, moved, count << 8, "mean")
    return floor_shift(b, b.subtract(wide, mean, "bias"), 16, "bias", addend=1 << 15)
