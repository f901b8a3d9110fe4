"""What the operations share: centred codes, floors of negative numbers, rounding, roots."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from codesign.export.onnx_integer.builder import Builder, per_channel
from codesign.export.onnx_integer.values import Codes, Operand, Value, bounds, storage
from codesign.numerics.fixed_point import Format

NEWTON_STEPS = 5


def centred(b: Builder, x: Codes) -> Value:
    """Return the whole numbers that codes stand for (`Format.integers`)."""
    f = x.format
    if f.codebook:
        return b.read(np.array(f.codebook, np.int64), x.value, "integers")
    value = b.subtract(x.value, f.zero_point, "centred")
    return b.multiply(value, 1 << per_channel(f.shifts, f.axis), "steps") if f.shifts else value


def requantize(b: Builder, accumulator: Value, multiplier: Any, shift: Any, fmt: Format) -> Value:
    """Return clamp(zero point + ((accumulator * multiplier + 2**(shift - 1)) >> shift)).

    Where the result's channels have shifts of their own, those add to `shift`.
    """
    shift = np.asarray(shift, dtype=np.int64)
    if fmt.shifts:
        shift = shift + per_channel(fmt.shifts, fmt.axis)
    numbers = np.asarray(multiplier, dtype=np.int64)
    several = numbers.size > 1 and np.any(numbers != 1)
    factor = b.stored(numbers, "multiplier") if several else numbers
    return rounded(b, b.multiply(accumulator, factor, "scaled"), shift, fmt)


def rounded(b: Builder, x: Value, shift: Any, fmt: Format) -> Value:
    """Return clamp(zero point + ((x + 2**(shift - 1)) >> shift)), for a constant shift.

    The zero point, counted from the smallest code, is added in front of the shift; the number
    shifted is then negative only where the result is the smallest code.
    """
    shift = np.asarray(shift, dtype=np.int64)
    twice = 2 * (fmt.zero_point - fmt.low) + 1
    addend: Operand = np.int64(twice) << (shift - 1)
    if shift.size > 1:
        addend = b.shift_left(twice, shift - 1, "rounding").within(*bounds(addend))
    floored = b.maximum(b.add(x, addend, "rounded"), 0)
    steps = b.minimum(b.shift_right(floored, shift), fmt.high - fmt.low)
    return b.cast(b.add(steps, fmt.low, "codes"), storage(fmt))


def finish(b: Builder, scaled: Value, fmt: Format) -> Value:
    """Add the zero point and clamp to the format's codes."""
    codes = b.add(scaled, fmt.zero_point, "offset")
    clamped = b.minimum(b.maximum(codes, fmt.low), fmt.high)
    return b.cast(clamped, storage(fmt))


def floor_shift(
    b: Builder, x: Value, bits: Value | int, label: str = "shifted", addend: int = 0
) -> Value:
    """Return (x + addend) >> bits, rounding towards minus infinity.

    A multiple of 2**bits that makes x positive is added before the shift, and taken off after it,
    where `bits` is constant and 64 bits hold the sum.
    """
    if isinstance(bits, int):
        lift = max(0, -((x.low + addend) >> bits))
        if x.high + addend + (lift << bits) < 2**63:
            lifted = b.add(x, addend + (lift << bits), f"{label}/lifted")
            return b.subtract(b.shift_right(lifted, bits, label), lift, label)
    total = b.add(x, addend, f"{label}/total")
    return _towards_minus_infinity(b, total, lambda v: b.shift_right(v, bits, label), label)


def floor_quotient(b: Builder, x: Value, y: Operand, label: str = "quotient") -> Value:
    """Return floor(x / y) for y >= 1."""
    return _towards_minus_infinity(b, x, lambda v: b.quotient(v, y, label), label)


def _towards_minus_infinity(
    b: Builder, x: Value, divide: Callable[[Value], Value], label: str
) -> Value:
    """Divide a number of either sign: ~x is -1 - x, and floor(x / y) = ~floor(~x / y)."""
    if x.low >= 0:
        return divide(x)
    negative = b.compare("Less", x, 0, f"{label}/negative")
    mask = b.where(negative, -1, 0, f"{label}/mask")
    peak = max(x.high, -1 - x.low)
    result = divide(b.exclusive_or(x, mask, f"{label}/magnitude", 0, peak))
    limit = min(result.high, peak)
    return b.exclusive_or(result, mask, f"{label}/floor", -1 - limit, limit)


def power_of_two(b: Builder, exponent: Value) -> Value:
    """Return 2**exponent for exponents from 0 to 62."""
    return b.shift_left(1, exponent, "power")


def count_reached(b: Builder, x: Value, thresholds: Sequence[int], label: str) -> Value:
    """Return how many of the rising thresholds are at most x, by binary search."""
    steps = len(thresholds).bit_length()
    never = np.iinfo(np.int64).max if x.high > 2**31 - 2 else 2**31 - 1
    table = np.full(2**steps - 1, never, dtype=np.int64)
    table[: len(thresholds)] = thresholds
    found: Operand = 0
    for step in range(steps - 1, -1, -1):
        middle: Operand = table[2**step - 1]
        if isinstance(found, Value):
            middle = b.read(table[2**step - 1 :], found, f"{label}/threshold")
        reached = b.compare("GreaterOrEqual", x, middle, f"{label}/reached")
        further = b.add(found, 2**step) if isinstance(found, Value) else 2**step
        found = b.where(reached, further, found, f"{label}/found")
    if not isinstance(found, Value):
        raise ValueError("no thresholds")
    return found.within(0, len(thresholds))


def count_reached_in_rows(b: Builder, x: Value, thresholds: Sequence[int]) -> Value:
    """Return how many thresholds are at most x, x being of shape (..., 1), by comparing all."""
    reached = b.compare("GreaterOrEqual", x, np.array(thresholds, np.int64), "reached")
    return b.sum(reached, [-1], len(thresholds))


def bit_length(b: Builder, x: Value) -> Value:
    """Return the bits that numbers >= 0 take: how many powers of two are at most x."""
    powers = [1 << i for i in range(x.high.bit_length())]
    return count_reached(b, x, powers, "bits")


def round_log2(b: Builder, x: Value) -> Value:
    """Return, for x >= 1, the place of the leading one plus the bit behind it."""
    return count_reached(b, x, log2_thresholds(x.high.bit_length()), "log2")


def log2_thresholds(count: int) -> list[int]:
    """Return the least number that rounds to each exponent from 1 on: 1.5 * 2**(k - 1), up."""
    return [2, *(3 << k for k in range(count - 1))]


def integer_sqrt(b: Builder, x: Value) -> Value:
    """Return floor(sqrt(x)) of 1 <= x < 2**62 by Newton's method, x being of shape (..., 1).

    The start is a power of two above the root and at most twice the root: relative error at most
    1. In real numbers an error e becomes e**2 / (2 * (1 + e)): 0.25, 0.025, 3.1e-4, 4.7e-8 and
    1.1e-15, below 1 / root from the fifth step on. Rounding down makes iterates smaller, but none
    falls below floor(sqrt(x)) (Crandall and Pomerance, "Prime Numbers", algorithm 9.2.11). So
    five steps end at the root or one above it.
    """
    if not 1 <= x.low <= x.high < 2**62:
        raise ValueError(f"a root of {x.low} to {x.high}")
    x, low, high = b.cast(x, "int64"), math.isqrt(x.low), math.isqrt(x.high)
    first, last = ((v.bit_length() + 1) // 2 for v in (x.low, x.high))
    root: Operand = 2**last
    if last > first:
        reached = count_reached_in_rows(b, x, [4**k for k in range(first, last)])
        root = b.read(np.array([2**k for k in range(first, last + 1)]), reached, "start", "int64")
    for _ in range(NEWTON_STEPS):
        total = b.add(b.quotient(x, root, "newton"), root, "newton")
        root = b.quotient(total, 2, "newton").within(low, 2**last)
    above = b.compare("Less", x, b.multiply(root, root, "square"), "above")
    one_less = b.add(root, -1, "one_less")
    return b.where(above, one_less, root, "root").within(low, high)
