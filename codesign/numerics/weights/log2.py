"""Log2 weights: zero and plus or minus powers of two, so that a product is a shift.

A b-bit code is a sign and a (b-1)-bit exponent field, of which one value means zero; that leaves
the exponents 0 to 2**(b-1) - 2.
"""

import torch
from torch import Tensor

from codesign.numerics.weights.base import SCHEMES, WeightScheme


class Log2(WeightScheme):
    """Levels 0 and +-2**e, e from 0 to 2**(bits-1) - 2."""

    name = "log2"
    widths = (2, 5)
    hardware = "log2"

    def levels(self, bits: int) -> Tensor:
        """Return 0 and the powers of two."""
        return torch.tensor([0.0, *(2.0**e for e in range(2 ** (bits - 1) - 1))]).double()

    def largest(self, bits: int) -> int:
        """Return 2**(2**(bits - 1) - 2)."""
        return int(2 ** (2 ** (bits - 1) - 2))

    def round(self, ratio: Tensor, bits: int) -> Tensor:
        """Return the nearest level: thresholds at 0.5 for zero and at 1.5 * 2**e between powers."""
        magnitude = ratio.abs()
        exponent = torch.frexp(magnitude / 1.5)[1].clamp_(0, 2 ** (bits - 1) - 2)
        power = torch.ldexp(torch.ones_like(magnitude), exponent)
        return torch.where(magnitude < 0.5, torch.zeros_like(power), power.copysign(ratio))


SCHEMES.register("log2")(Log2())
