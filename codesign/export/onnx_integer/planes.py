"""Operands of ConvInteger and MatMulInteger: numbers as sums of bytes.

Both operators multiply 8-bit tensors, each with a zero point, and add in 32 bits. Numbers of more
bits are written in base 256 with digits from -128 to 127; a digit is a byte with the zero point
128, and the products of digits are added with their weights afterwards.

Every operand is an unsigned byte, weights included. For signed weights ONNX Runtime's kernels for
x86 processors without VNNI instructions add pairs of products in 16 bits, with saturation (the
instruction vpmaddubsw; ONNX Runtime's documentation, "Quantize ONNX models"). For two unsigned
operands they never do, so that the integers are the same on every machine.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from codesign.export.onnx_integer.arithmetic import centred
from codesign.export.onnx_integer.builder import Builder
from codesign.export.onnx_integer.values import Codes, Integers, Value

BYTE = 255
CENTRE = 128


@dataclass(frozen=True)
class Plane:
    """A digit of every number: (value - zero_point) * 256**place.

    Attributes:
        value: Unsigned bytes.
        zero_point: The byte that stands for zero.
        place: The digit's exponent.
    """

    value: Value
    zero_point: int
    place: int

    @property
    def limits(self) -> tuple[int, int]:
        """The smallest and the largest digit."""
        return self.value.low - self.zero_point, self.value.high - self.zero_point


def activation_planes(b: Builder, x: Codes) -> list[Plane]:
    """Return the planes of the whole numbers that codes stand for."""
    f = x.format
    if f.codebook:
        return _codebook_planes(b, x)
    if not f.shifts and f.low >= -CENTRE and f.high <= BYTE:
        lift = CENTRE if f.signed else 0
        if 0 <= f.zero_point + lift <= BYTE:
            return [Plane(b.cast(b.add(x.value, lift, "lifted"), "uint8"), f.zero_point + lift, 0)]
    numbers = centred(b, x)
    return _computed_planes(b, numbers)


def _computed_planes(b: Builder, x: Value) -> list[Plane]:
    """Add 128 to every digit; then the bytes of the sum are the digits with zero point 128."""
    count = digits(x.low, x.high)
    lifted = b.add(x, sum(CENTRE << 8 * i for i in range(count)), "lifted")
    planes = []
    for i in range(count):
        rest = b.shift_right(lifted, 8 * i, f"byte{i}")
        byte = b.cast(b.low_byte(rest, f"byte{i}"), "uint8")
        planes.append(Plane(byte, CENTRE, i))
    return planes


def _codebook_planes(b: Builder, x: Codes) -> list[Plane]:
    return [
        Plane(b.read(table, x.value, f"byte{place}", "uint8"), zero_point, place)
        for table, zero_point, place in split(np.array(x.format.codebook, dtype=np.int64))
    ]


def weight_planes(b: Builder, weight: Integers) -> list[Plane]:
    """Return the planes of constant weights; a plane of zeros is left out."""
    return [
        Plane(b.stored_bytes(table, "weight"), zero_point, place)
        for table, zero_point, place in split(weight.astype(np.int64))
    ]


def split(numbers: Integers) -> list[tuple[Integers, int, int]]:
    """Return (bytes, zero point, place) of the digits of numbers; digits of zeros are left out."""
    low, high = int(numbers.min()), int(numbers.max())
    if low >= 0 and high <= BYTE:
        return [(numbers, 0, 0)]
    count = digits(low, high)
    lifted = numbers + sum(CENTRE << 8 * i for i in range(count))
    planes = [(lifted >> 8 * i & BYTE, CENTRE, i) for i in range(count)]
    return [plane for plane in planes if np.any(plane[0] != CENTRE)]


def digits(low: int, high: int) -> int:
    """Return how many digits from -128 to 127 the numbers from `low` to `high` take."""
    count = 1
    while not -CENTRE * (256**count - 1) // BYTE <= low <= high <= 127 * (256**count - 1) // BYTE:
        count += 1
    return count


def combine(
    b: Builder,
    left: Sequence[Plane],
    right: Sequence[Plane],
    multiply: Callable[[Plane, Plane], Value],
    limits: tuple[int, int],
) -> Value:
    """Return the product of two operands from the products of their planes.

    Args:
        b: The builder.
        left: The left operand.
        right: The right operand.
        multiply: Writes the product of two planes, int32.
        limits: Bounds of the result.

    Raises:
        RunError: 32 bits do not hold the product of two planes.
    """
    parts = []
    for x in left:
        for y in right:
            part = multiply(x, y)
            part = part.within(*limits) if len(left) == len(right) == 1 else part
            parts.append(b.multiply(b.cast(part, "int32"), 256 ** (x.place + y.place), "placed"))
    total = parts[0]
    for part in parts[1:]:
        total = b.add(total, part, "total")
    return total.within(*limits)
