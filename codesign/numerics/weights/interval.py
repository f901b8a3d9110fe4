"""Weights whose interval is learned in standard deviations, with an adjustable pruning ratio.

Inspired by Ardakani et al., "Standard deviation-based quantization for deep neural networks" (arXiv
2202.12422): the largest level of a layer is c = alpha * sigma(W), with one alpha a layer that
starts where the squared error is least and is learned while distilling; the levels are powers of
two or uniform; a share of the weights, asked for as the format's number, is pruned. The paper's
equations were not at hand, so levels, thresholds and gradients are our reconstruction.

The pruning threshold is the empirical quantile of |W|. For Gaussian weights that is
sigma * sqrt(2) * erfinv(ratio); trained weights are not Gaussian, and the quantile prunes the share
asked for whatever they are. Weights above it never become zero.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from codesign.numerics.weights.base import SCHEMES, Option, WeightScheme
from codesign.numerics.weights.log2 import Log2
from codesign.numerics.weights.uniform import Uniform

_INTERVALS = 64


@dataclass(frozen=True)
class Interval(WeightScheme):
    """The levels of another scheme on one scale a layer, alpha * sigma(W) / largest level.

    Attributes:
        base: Whose levels.
        name: Public name.
        pruned: Share of the weights that are zero; None leaves it to rounding.
    """

    base: WeightScheme
    name: str
    pruned: float | None = None

    option = Option("the share of weights pruned", 0.0, 1.0)
    learned = True

    @property
    def widths(self) -> tuple[int, int]:  # type: ignore[override]
        """The base's."""
        return self.base.widths

    @property
    def hardware(self) -> str:  # type: ignore[override]
        """The base's."""
        return self.base.hardware

    def fitted(self, weight: Tensor, bits: int, option: float | None) -> "Interval":
        """Return the scheme with a pruning ratio."""
        return replace(self, pruned=option)

    def levels(self, bits: int) -> Tensor:
        """Return the base's."""
        return self.base.levels(bits)

    def round(self, ratio: Tensor, bits: int) -> Tensor:
        """Return the nearest levels of a whole layer; with pruning, zero where and only where."""
        codes = self.base.round(ratio, bits)
        if self.pruned is None:
            return codes
        magnitude = ratio.abs()
        codes = torch.where(codes == 0, torch.ones_like(ratio).copysign(ratio), codes)
        count = int(self.pruned * ratio.numel() + 0.5)
        if count == ratio.numel():
            return torch.zeros_like(ratio)
        threshold = magnitude.flatten().kthvalue(count + 1).values
        return torch.where(magnitude < threshold, torch.zeros_like(codes), codes)

    def frozen(self, values: Tensor) -> Tensor:
        """Return where weights are pruned: their zeros do not depend on the interval."""
        return values == 0 if self.pruned is not None else super().frozen(values)

    def neighbours(self, weight: Tensor, scale: Tensor, bits: int) -> tuple[Tensor, Tensor]:
        """Return the levels around each ratio; what is pruned stays so, and what is not, not."""
        down, up = super().neighbours(weight, scale, bits)
        if self.pruned is None:
            return down, up
        codes = self.integer(weight, scale, bits).to(down.dtype)
        tied = (codes == 0) | (down == 0) | (up == 0)
        return torch.where(tied, codes, down), torch.where(tied, codes, up)

    def scale_of(self, alpha: Tensor, weight: Tensor, bits: int) -> Tensor:
        """Return the scale of every channel, (out_channels,), differentiable in alpha alone."""
        step = alpha * _deviation(weight) / self.largest(bits)
        return step.expand(len(weight))

    def alpha_of(self, scale: Tensor, weight: Tensor, bits: int) -> Tensor:
        """Return the alpha that gives a layer's scale; the inverse of `scale_of`."""
        return scale.max() * self.largest(bits) / _deviation(weight)

    def search_alpha(self, weight: Tensor, bits: int) -> Tensor:
        """Return the alpha with the least squared error, of 64 from 0.5 to 1.2 peaks."""
        weight = weight.detach().float()
        peak = float(weight.abs().max() / _deviation(weight))
        least, most = torch.tensor(0.5).log(), torch.tensor(max(1.2 * peak, 1.0)).log()
        candidates = torch.linspace(float(least), float(most), _INTERVALS).exp().to(weight.device)
        scales = [self.scale_of(alpha, weight, bits) for alpha in candidates]
        errors = torch.stack([self.errors(weight, scale, bits).sum() for scale in scales])
        return candidates[int(errors.argmin())]

    def search_scale(self, weight: Tensor, bits: int) -> Tensor:
        """Return the scale, the same for every channel, with the least squared error."""
        return self.scale_of(self.search_alpha(weight, bits), weight, bits).contiguous()


def _deviation(weight: Tensor) -> Tensor:
    return weight.detach().std(correction=0).clamp(min=1e-8)


SCHEMES.register("log2std")(Interval(Log2(), "log2std"))
SCHEMES.register("uniformstd")(Interval(Uniform(), "uniformstd"))
