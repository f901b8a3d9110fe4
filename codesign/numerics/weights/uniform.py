"""Uniform weights: whole numbers from -(2**(b-1) - 1) to 2**(b-1) - 1."""

import torch
from torch import Tensor

from codesign.numerics.weights.base import SCHEMES, WeightScheme


class Uniform(WeightScheme):
    """Symmetric uniform levels; the most negative code is not used."""

    name = "uniform"
    widths = (2, 8)
    hardware = "uniform"

    def levels(self, bits: int) -> Tensor:
        """Return 0 to 2**(bits - 1) - 1."""
        return torch.arange(2 ** (bits - 1), dtype=torch.float64)

    def largest(self, bits: int) -> int:
        """Return 2**(bits - 1) - 1."""
        return 2 ** (bits - 1) - 1

    def round(self, ratio: Tensor, bits: int) -> Tensor:
        """Return the nearest whole number in range."""
        return torch.round(ratio).clamp_(-self.largest(bits), self.largest(bits))


SCHEMES.register("uniform")(Uniform())
