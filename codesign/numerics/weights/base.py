"""What a weight scheme is: whole numbers per output channel on one scale each."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from codesign.numerics.straight_through import Substitute
from codesign.registry import Registry

_CANDIDATES = torch.linspace(0.30, 1.20, 46)


class WeightScheme(ABC):
    """Maps real weights to whole numbers w_int with w = scale * w_int, one scale a channel.

    Attributes:
        name: Public name.
    """

    name: str

    @abstractmethod
    def largest(self, bits: int) -> int:
        """Return the largest whole number of a `bits`-wide weight."""

    @abstractmethod
    def round(self, ratio: Tensor, bits: int) -> Tensor:
        """Return the representable whole numbers nearest to weight / scale, same dtype."""

    def integer(self, weight: Tensor, scale: Tensor, bits: int) -> Tensor:
        """Return the integer weights (int32) of a real weight tensor.

        Args:
            weight: (out_channels, ...).
            scale: (out_channels,), positive.
            bits: Width of a weight.
        """
        return self.round(weight / _per_channel(scale, weight), bits).to(torch.int32)

    def twin(self, weight: Tensor, scale: Tensor, bits: int) -> Tensor:
        """Return scale * integer weight, with gradients passed where the weight is in range."""
        wide = _per_channel(scale, weight)
        with torch.no_grad():
            values = self.round(weight / wide, bits).mul_(wide)
        limit = wide * (self.largest(bits) + 0.5)
        return Substitute.apply(weight, values, limit)

    def search_scale(self, weight: Tensor, bits: int) -> Tensor:
        """Return the scale per output channel (float32) with the least squared error.

        Tries 46 clipping thresholds from 0.3 to 1.2 times each channel's largest magnitude.
        """
        flat = weight.detach().reshape(weight.shape[0], -1).float()
        peak = flat.abs().amax(dim=1).clamp(min=1e-8)
        best = torch.full_like(peak, float("inf"))
        scale = peak / self.largest(bits)
        for fraction in _CANDIDATES.tolist():
            candidate = peak * fraction / self.largest(bits)
            wide = candidate[:, None]
            error = (self.round(flat / wide, bits) * wide - flat).square().sum(dim=1)
            better = error < best
            best = torch.where(better, error, best)
            scale = torch.where(better, candidate, scale)
        return scale


def _per_channel(scale: Tensor, weight: Tensor) -> Tensor:
    return scale.reshape(-1, *[1] * (weight.dim() - 1))


SCHEMES: Registry[WeightScheme] = Registry("weight scheme")
