"""What a weight scheme is: whole numbers per output channel on one scale each."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from codesign.numerics.straight_through import LearnedScale, Substitute
from codesign.registry import Registry

_CANDIDATES = torch.linspace(0.30, 1.20, 46)


@dataclass(frozen=True)
class Option:
    """The number behind "@" in a weight format such as "log2std_4@0.5".

    Attributes:
        meaning: What it is, in the words of an error message.
        least: Smallest value.
        below: Values stay below this.
        required: Whether a format without it means nothing.
    """

    meaning: str
    least: float
    below: float
    required: bool = False


class WeightScheme(ABC):
    """Maps real weights to whole numbers w_int with w = scale * w_int, one scale a channel.

    Attributes:
        name: Public name.
        widths: Least and most bits of a weight code.
        hardware: What the cost models price it as: "uniform", "log2", "apot" or "mixed".
        option: The number a format of this scheme may carry, None if there is none.
        learned: Whether one interval a layer, in standard deviations, is learned by distillation
            (`codesign.numerics.weights.interval`).
    """

    name: str
    widths: tuple[int, int]
    hardware: str
    option: Option | None = None
    learned: bool = False

    @abstractmethod
    def levels(self, bits: int) -> Tensor:
        """Return the magnitudes a `bits`-wide weight can have, ascending from 0, float64."""

    @abstractmethod
    def round(self, ratio: Tensor, bits: int) -> Tensor:
        """Return the representable whole numbers nearest to weight / scale, same dtype."""

    def fitted(self, weight: Tensor, bits: int, option: float | None) -> "WeightScheme":
        """Return the scheme with whatever it decides once for a layer's weights.

        Args:
            weight: (out_channels, ...).
            bits: Width of a weight.
            option: The number behind "@" in the layer's format.
        """
        return self

    def largest(self, bits: int) -> int:
        """Return the largest whole number of a `bits`-wide weight."""
        return int(self.levels(bits)[-1])

    def limits(self, bits: int) -> float | Tensor:
        """Return the largest whole number, (out_channels,) where the channels differ."""
        return self.largest(bits)

    def integer(self, weight: Tensor, scale: Tensor, bits: int) -> Tensor:
        """Return the integer weights (int32) of a real weight tensor.

        Args:
            weight: (out_channels, ...).
            scale: (out_channels,), positive.
            bits: Width of a weight.
        """
        return self.round(weight / per_channel(scale, weight), bits).to(torch.int32)

    def twin(self, weight: Tensor, scale: Tensor, bits: int) -> Tensor:
        """Return scale * integer weight, differentiable.

        Gradients pass to the weight where it is in range, and to the scale, if it asks for them,
        as in LSQ (Esser et al., "Learned step size quantization", ICLR 2020, equation 3).
        """
        wide = per_channel(scale, weight)
        with torch.no_grad():
            values = self.round(weight / wide, bits).mul_(wide)
            top = self.limits(bits)
            top = per_channel(top, weight) if isinstance(top, Tensor) else top
            limit = wide * (top + 0.5)
        if scale.requires_grad:
            step = 1.0 / (weight.numel() * len(self.levels(bits))) ** 0.5
            return LearnedScale.apply(weight, wide, values, limit, self.frozen(values), step)
        return Substitute.apply(weight, values, limit)

    def frozen(self, values: Tensor) -> Tensor:
        """Return where a weight's value does not depend on its scale (bool)."""
        return torch.zeros_like(values, dtype=torch.bool)

    def neighbours(self, weight: Tensor, scale: Tensor, bits: int) -> tuple[Tensor, Tensor]:
        """Return the whole numbers below and above each weight / scale; equal where none is.

        A ratio that is itself a level is its own lower neighbour.
        """
        ratio = weight / per_channel(scale, weight)
        return around(ratio, self.levels(bits))

    def search_scale(self, weight: Tensor, bits: int) -> Tensor:
        """Return the scale per output channel (float32) with the least squared error.

        Tries 46 clipping thresholds from 0.3 to 1.2 times each channel's largest magnitude.
        """
        flat = weight.detach().reshape(weight.shape[0], -1).float()
        peak = flat.abs().amax(dim=1).clamp(min=1e-8)
        best = torch.full_like(peak, float("inf"))
        scale = peak / self.limits(bits)
        for fraction in _CANDIDATES.tolist():
            candidate = peak * fraction / self.limits(bits)
            error = self.errors(flat, candidate, bits)
            better = error < best
            best = torch.where(better, error, best)
            scale = torch.where(better, candidate, scale)
        return scale

    def errors(self, weight: Tensor, scale: Tensor, bits: int) -> Tensor:
        """Return each output channel's squared error of rounding, (out_channels,)."""
        wide = per_channel(scale, weight)
        difference = self.round(weight / wide, bits) * wide - weight
        return difference.square().reshape(len(weight), -1).sum(dim=1)


def per_channel(scale: Tensor, weight: Tensor) -> Tensor:
    """Return a (out_channels,) tensor shaped to multiply a layer's weights."""
    return scale.reshape(-1, *[1] * (weight.dim() - 1))


def nearest(ratio: Tensor, levels: Tensor) -> Tensor:
    """Return the nearest level of each ratio, ties up in magnitude; levels ascend from 0."""
    known = levels.to(ratio)
    middles = (known[1:] + known[:-1]) / 2
    index = torch.bucketize(ratio.abs(), middles, right=True)
    return known[index].copysign(ratio)


def around(ratio: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the signed levels just below and above each ratio; levels ascend from 0."""
    known = torch.cat([-levels.flip(0)[:-1], levels]).to(ratio)
    above = torch.bucketize(ratio, known, right=True)
    down = known[(above - 1).clamp_(min=0)]
    return down, torch.maximum(down, known[above.clamp_(max=len(known) - 1)])


SCHEMES: Registry[WeightScheme] = Registry("weight scheme")
