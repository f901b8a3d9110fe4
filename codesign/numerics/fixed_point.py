"""Codes, scales and the requantisation between them.

A real number x is held as an integer code q with x = scale * (q - zero_point). Moving an
accumulator to a new scale multiplies it by a dyadic number multiplier / 2**shift and rounds half
up: floor((a * multiplier + 2**(shift - 1)) / 2**shift), an add and an arithmetic shift in hardware.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codesign.numerics.straight_through import Bounded, FakeQuantize, read

MULTIPLIER_BITS = 16
MAX_SHIFT = 44
"""Largest shift: an 8-bit zero point moved up by it stays below 2**53, float64's whole numbers."""
MAX_RATIO = 2.0 ** (MULTIPLIER_BITS - 1) - 0.25
"""Ratios from here on round to a multiplier of 17 bits at the smallest shift."""
ACCUMULATOR_LIMIT = 2**31 - 1


@dataclass(frozen=True)
class Format:
    """How the codes of one tensor stand for real numbers.

    A code q stands for the whole number `q - zero_point`, or `(q - zero_point) << shifts[c]` in
    channel c, or `codebook[q]`; the real number is `scale` times that.

    Attributes:
        bits: Width of a code in bits.
        scale: Real value of one step.
        zero_point: The code that stands for zero.
        signed: Two's complement codes, else unsigned.
        shifts: Left shift of each channel (a power-of-two factor, FQ-ViT); empty for none.
        axis: The dimension of the channels of `shifts`, counted from the last: -1, -2, ...
        codebook: The whole number of every code, for codes that are not evenly spaced (powers of
            two, two scales); empty for none. Unsigned codes, no zero point.
    """

    bits: int
    scale: float
    zero_point: int = 0
    signed: bool = False
    shifts: tuple[int, ...] = ()
    axis: int = -1
    codebook: tuple[int, ...] = ()

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
        """Largest magnitude of the whole number a code stands for."""
        if self.codebook:
            return max(abs(value) for value in self.codebook)
        largest = max(self.high - self.zero_point, self.zero_point - self.low)
        return largest << max(self.shifts, default=0)

    def integers(self, codes: Tensor) -> Tensor:
        """Return the whole numbers that codes stand for, of the codes' (float) type."""
        if self.codebook:
            table = torch.tensor(self.codebook, dtype=codes.dtype, device=codes.device)
            return read(table, codes.to(torch.int32))
        x = codes - self.zero_point if self.zero_point else codes
        return x * self.steps(x) if self.shifts else x

    def steps(self, like: Tensor) -> Tensor:
        """Return 2**shifts, shaped to multiply a tensor like the one given."""
        factors = torch.tensor([2**s for s in self.shifts], dtype=like.dtype, device=like.device)
        return factors.reshape(-1, *[1] * (-1 - self.axis))

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
        steps = x.double() / self.scale
        if self.codebook:
            return self._nearest(steps).double()
        if self.shifts:
            steps = steps / self.steps(steps)
        return (torch.floor(steps + 0.5) + self.zero_point).clamp_(self.low, self.high)

    def _nearest(self, steps: Tensor) -> Tensor:
        """Return the code whose codebook entry is nearest to each number (ties up), int64."""
        levels, order = torch.sort(torch.tensor(self.codebook, dtype=steps.dtype))
        middles = ((levels[1:] + levels[:-1]) / 2).to(steps.device)
        return order.to(steps.device)[torch.bucketize(steps, middles, right=True)]

    def dequantize(self, codes: Tensor) -> Tensor:
        """Return the real values of codes, as float64."""
        return self.integers(codes.double()) * self.scale

    def fake_quantize(self, x: Tensor) -> Tensor:
        """Return x rounded to its code's value; gradients pass where x is in range."""
        if self.codebook or self.shifts:
            return self._substitute(x)
        low = (self.low - self.zero_point) * self.scale
        high = (self.high - self.zero_point) * self.scale
        return FakeQuantize.apply(x, self.scale, low, high)

    def _substitute(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            values = self.dequantize(self.quantize(x)).to(x.dtype)
        if self.codebook:
            low, high = min(self.codebook) * self.scale, max(self.codebook) * self.scale
            return Bounded.apply(x, values, low, high)
        step = self.steps(x) * self.scale
        low_values = (self.low - self.zero_point) * step
        return Bounded.apply(x, values, low_values, (self.high - self.zero_point) * step)

    def to_json(self) -> dict[str, Any]:
        """Return the format as JSON-able values; what is not used is left out."""
        values = asdict(self)
        if not self.shifts:
            del values["shifts"], values["axis"]
        if not self.codebook:
            del values["codebook"]
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Format":
        """Rebuild a format from `to_json`'s values."""
        lists = {key: tuple(values[key]) for key in ("shifts", "codebook") if key in values}
        return cls(**{**values, **lists})


def dyadic(
    ratio: NDArray[np.float64] | float, largest_shift: int = MAX_SHIFT
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (multiplier, shift) with multiplier / 2**shift nearest to each ratio.

    The multiplier has at most 16 bits, unsigned; the shift is at least 1 and at most 44, so a ratio
    below 2**-29 loses bits of its multiplier and in the end becomes 0. A power of two at most 1/2
    has the multiplier 1, so that hardware sees a shift and nothing else. A result whose channels
    have shifts of their own leaves room for those: `largest_shift` is 44 less the largest.

    Raises:
        ValueError: A ratio is negative, not finite, or at least 2**15 - 1/4.
    """
    values = np.atleast_1d(np.asarray(ratio, dtype=np.float64))
    if not np.all(np.isfinite(values) & (values >= 0) & (values < MAX_RATIO)):
        raise ValueError(f"requantisation ratio out of range: {values.min()} to {values.max()}")
    exponent = np.frexp(np.where(values > 0, values, 1.0))[1]
    shift = np.clip(MULTIPLIER_BITS - exponent, 1, largest_shift)
    multiplier = np.floor(np.ldexp(values, shift) + 0.5)
    overflow = multiplier >= 2**MULTIPLIER_BITS
    shift = shift - overflow
    multiplier = np.where(overflow, np.floor(np.ldexp(values, shift) + 0.5), multiplier)
    pure = (np.frexp(values)[0] == 0.5) & (values >= 2.0**-largest_shift) & (values <= 0.5)
    multiplier, shift = np.where(pure, 1, multiplier), np.where(pure, 1 - exponent, shift)
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
