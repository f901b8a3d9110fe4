"""Shiftmax: exponentials by shifts and additions, one reciprocal a row.

I-ViT (Li and Gu, ICCV 2023, arXiv 2207.01405, section 3.3). With unit = round(1 / s):

    p = d + ceil(d / 2) - ceil(d / 16)        log2(e) as 1 + 1/2 - 1/16; v = -d in whole numbers
    p = min(p, n * unit)      q = p // unit      r = p - q * unit
    e = ((2 * unit - r) << (n - 1)) >> q      2**-(r / unit) as 1 - r / (2 * unit)
    y = (floor(2**31 / S) * e) >> (32 - bits)

on the scale 2**-(bits - 1). n is the published 15, less where unit passes 2**9, so that e stays
within 24 bits and the reciprocal's floor costs less than one code. The published codes are signed;
ours are unsigned, and 2**(bits - 1) is exactly one, though floors give it only where S divides
2**31: the method is made for 8 bits.
"""

import torch
from torch import Tensor

from codesign.numerics.constants import Constants
from codesign.numerics.fixed_point import Format
from codesign.numerics.softmax.base import Softmax, as_attributes, softmax_kind, spread

EXPONENT_SHIFT = 15
EXPONENTIAL_BITS = 24
RECIPROCAL_BITS = 31


@softmax_kind("shiftmax")
class Shiftmax(Softmax):
    """Uniform codes by shifts, additions and one product an element."""

    operation = "shiftmax"
    hardware_function = "shiftmax"

    def format(self, bits: int, probabilities: Tensor) -> Format:
        """Return unsigned codes of scale 2**-(bits - 1)."""
        return Format(bits, 2.0 ** -(bits - 1))

    def constants(self, source: Format, target: Format) -> Constants:
        """Return unit, n and the shift of a distance; quotients are floored, so rows add to 1."""
        shift, scale = spread(source.scale)
        unit = round(1.0 / scale)
        return Constants(
            as_attributes(
                unit=unit,
                limit=min(EXPONENT_SHIFT, EXPONENTIAL_BITS - unit.bit_length()),
                distance_shift=shift,
                row_limit=2 ** (target.bits - 1),
            )
        )

    def exponentials(self, bits: int, c: Constants) -> Tensor:
        """Return the shifted lines."""
        a = c.attributes
        v = -(torch.arange(2**bits) << a["distance_shift"])
        power = (-v - (v >> 1) + (v >> 4)).clamp(max=a["limit"] * a["unit"])
        whole = power // a["unit"]
        rest = power - whole * a["unit"]
        return ((2 * a["unit"] - rest) << (a["limit"] - 1)) >> whole

    def quotients(self, e: Tensor, total: Tensor, target: Format, c: Constants) -> Tensor:
        """Return floor(floor(2**31 / total) * e / 2**(32 - bits)); products stay within 2**31."""
        reciprocal = torch.floor(2.0**RECIPROCAL_BITS / total)
        return torch.floor(reciprocal * e / 2.0 ** (RECIPROCAL_BITS + 1 - target.bits))

    def constant_bits(self, input_bits: int, bits: int) -> int:
        """Return the bits of unit and n."""
        return 15 + 4
