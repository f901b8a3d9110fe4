"""Codes, scales and the requantisation between them.

A real number x is held as an integer code q with x = scale * (q - zero_point). Moving an
accumulator to a new scale multiplies it by a dyadic number multiplier / 2**shift and rounds half
up: floor((a * multiplier + 2**(shift - 1)) / 2**shift), an add and an arithmetic shift in hardware.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codesign.numerics.straight_through import FakeQuantize

MULTIPLIER_BITS = 16
MAX_SHIFT = 44
"""Largest shift: an 8-bit zero point moved up by it stays below 2**53, float64's whole numbers."""
MAX_RATIO = 2.0 ** (MULTIPLIER_BITS - 1) - 0.25
"""Ratios from here on round to a multiplier of 17 bits at the smallest shift."""
ACCUMULATOR_LIMIT = 2**31 - 1


@dataclass(frozen=True)
class Format:
    """How the codes of one tensor stand for real numbers.

    Attributes:
        bits: Width of a code in bits.
        scale: Real value of one code step.
        zero_point: The code that stands for zero.
        signed: Two's complement codes, else unsigned.
    """

    bits: int
    scale: float
    zero_point: int = 0
    signed: bool = False

    @property
    def low(self) -> int:
        """Smallest code."""
        return -(2 ** (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """Largest code."""
        return self.low + 2**self.bits - 1

    @property
    def magnitude(self) -> int:
        """Largest |code - zero_point|."""
        return max(self.high - self.zero_point, self.zero_point - self.low)

    @classmethod
    def from_range(cls, low: float, high: float, bits: int) -> "Format":
        """Return the unsigned format that spans [low, high], widened to hold zero exactly.

        A tensor that is zero everywhere gets the span 1: any format holds it, and this one keeps
        the ratios of requantisation within bounds.
        """
        low, high = min(low, 0.0), max(high, 0.0)
        steps = 2**bits - 1
        scale = max(((high - low) or 1.0) / steps, 1e-8)
        zero_point = min(max(math.floor(-low / scale + 0.5), 0), steps)
        return cls(bits, scale, zero_point)

    def quantize(self, x: Tensor) -> Tensor:
        """Return the codes nearest to real values (ties up), as float64 whole numbers."""
        codes = torch.floor(x.double() / self.scale + 0.5) + self.zero_point
        return codes.clamp_(self.low, self.high)

    def dequantize(self, codes: Tensor) -> Tensor:
        """Return the real values of codes, as float64."""
        return (codes.double() - self.zero_point) * self.scale

    def fake_quantize(self, x: Tensor) -> Tensor:
        """Return x rounded to its code's value; gradients pass where x is in range."""
        low = (self.low - self.zero_point) * self.scale
        high = (self.high - self.zero_point) * self.scale
        return FakeQuantize.apply(x, self.scale, low, high)

    def to_json(self) -> dict[str, Any]:
        """Return the format as JSON-able values."""
        return asdict(self)


def dyadic(ratio: NDArray[np.float64] | float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (multiplier, shift) with multiplier / 2**shift nearest to each ratio.

    The multiplier has at most 16 bits, unsigned; the shift is at least 1 and at most 44, so a ratio
    below 2**-29 loses bits of its multiplier and in the end becomes 0.

    Raises:
        ValueError: A ratio is negative, not finite, or at least 2**15 - 1/4.
    """
    values = np.atleast_1d(np.asarray(ratio, dtype=np.float64))
    if not np.all(np.isfinite(values) & (values >= 0) & (values < MAX_RATIO)):
        raise ValueError(f"requantisation ratio out of range: {values.min()} to {values.max()}")
    exponent = np.frexp(np.where(values > 0, values, 1.0))[1]
    shift = np.clip(MULTIPLIER_BITS - exponent, 1, MAX_SHIFT)
    multiplier = np.floor(np.ldexp(values, shift) + 0.5)
    overflow = multiplier >= 2**MULTIPLIER_BITS
    shift = shift - overflow
    multiplier = np.where(overflow, np.floor(np.ldexp(values, shift) + 0.5), multiplier)
    return multiplier.astype(np.int64), shift.astype(np.int64)


def requantize(
    accumulator: Tensor, multiplier: Tensor, shift: Tensor, zero_point: int, low: int, high: int
) -> Tensor:
    """Return clamp(zero_point + ((accumulator * multiplier + 2**(shift-1)) >> shift)).

    Computed in float64, which is exact: the product stays below 2**47 in steps of 2**-44.

    Args:
        accumulator: Whole numbers below 2**31 in magnitude, any float type.
        multiplier: Whole numbers below 2**16, broadcastable.
        shift: Whole numbers from 1 to 44, broadcastable.
        zero_point: Zero point of the result.
        low: Smallest code of the result.
        high: Largest code of the result.

    Returns:
        Codes as float32 whole numbers.
    """
    factor = torch.ldexp(multiplier.double(), -shift.double())
    result = accumulator.double().mul(factor)
    return result.add_(zero_point + 0.5).floor_().clamp_(low, high).float()
