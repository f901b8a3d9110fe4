"""What reconstruction trains: how each weight is rounded, and the scales of activations.

Both take the place of what the network has while a block is trained: `LearnedRounding` of a layer's
weight scheme, `LearnedFormat` of a node's format.
"""

from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor

from codesign.numerics.fixed_point import Format
from codesign.numerics.weights import WeightScheme
from codesign.numerics.weights.base import per_channel

_STRETCH_LOW, _STRETCH_HIGH = -0.1, 1.1


class LearnedRounding(WeightScheme):
    """Weights between the two levels around them, as far up as a trained variable says.

    AdaRound (Nagel et al., "Up or down? Adaptive rounding for post-training quantization", ICML
    2020, equations 22 and 23): h = clamp(1.2 * sigmoid(a) - 0.1, 0, 1) of the way from the lower to
    the upper level; a starts where the real weight is.

    Args:
        scheme: The layer's scheme, fitted.
        weight: (out_channels, ...) real weights.
        scale: (out_channels,).
        bits: Width of a weight.
    """

    def __init__(self, scheme: WeightScheme, weight: Tensor, scale: Tensor, bits: int) -> None:
        self.name, self.widths, self.hardware = scheme.name, scheme.widths, scheme.hardware
        self.scheme, self.bits = scheme, bits
        self.scale = scale.detach()
        self.down, self.up = scheme.neighbours(weight.detach(), self.scale, bits)
        self.free = self.up > self.down
        gap = (self.up - self.down).clamp(min=1.0)
        share = (weight.detach() / per_channel(self.scale, weight) - self.down) / gap
        start = ((share.clamp(0.01, 0.99) - _STRETCH_LOW) / (_STRETCH_HIGH - _STRETCH_LOW)).logit()
        self.variable = start.requires_grad_(True)

    def levels(self, bits: int) -> Tensor:
        """Return the levels of the layer's scheme."""
        return self.scheme.levels(bits)

    def round(self, ratio: Tensor, bits: int) -> Tensor:
        """Return the chosen levels, whatever the ratio."""
        return torch.where(self.upward > 0.5, self.up, self.down)

    def twin(self, weight: Tensor, scale: Tensor, bits: int) -> Tensor:
        """Return the weights part of the way up, differentiable in the variable."""
        levels = self.down + self.upward * (self.up - self.down)
        return levels * per_channel(self.scale, weight)

    @property
    def upward(self) -> Tensor:
        """How far up each weight is, 0 to 1."""
        stretch = _STRETCH_HIGH - _STRETCH_LOW
        return (torch.sigmoid(self.variable) * stretch + _STRETCH_LOW).clamp(0.0, 1.0)

    def regulariser(self, beta: float) -> Tensor:
        """Return the sum of 1 - |2h - 1|**beta over the weights that have a choice."""
        distance = 1 - (2 * self.upward - 1).abs().pow(beta)
        return (distance * self.free).sum()

    def chosen(self) -> Tensor:
        """Return the real values of the levels chosen, on which the scheme rounds to them."""
        levels = self.round(self.variable.detach(), self.bits)
        return levels * per_channel(self.scale, levels)


@dataclass(frozen=True)
class LearnedFormat(Format):
    """Evenly spaced codes whose scale is trained, by default in proportion to what it was.

    The gradient is that of LSQ (Esser et al., "Learned step size quantization", ICLR 2020). With a
    `drop` each value escapes its rounding with that chance, as in QDrop (Wei et al., ICLR 2022).

    Attributes:
        growth: Logarithm of the scale over its first value, one trained number.
        drop: Chance of a value to stay real.
    """

    growth: Tensor | None = field(default=None, compare=False)
    drop: float = field(default=0.0, compare=False)

    @classmethod
    def of(cls, source: Format, device: torch.device, drop: float) -> "LearnedFormat":
        """Return a trainable format that starts as another."""
        growth = torch.zeros((), device=device, requires_grad=True)
        values = {f.name: getattr(source, f.name) for f in fields(Format)}
        return cls(**values, growth=growth, drop=drop)

    def fake_quantize(self, x: Tensor) -> Tensor:
        """Return x on its codes' values, differentiable in x and in the scale."""
        assert self.growth is not None
        step = self.scale * torch.exp(self.growth)
        ratio = (x / step).clamp(self.low - self.zero_point, self.high - self.zero_point)
        rounded = (ratio + (torch.round(ratio) - ratio).detach()) * step
        if not self.drop:
            return rounded
        return torch.where(torch.rand_like(x) < self.drop, x, rounded)

    def settled(self) -> Format:
        """Return the plain format with the scale as trained."""
        assert self.growth is not None
        plain = Format(**{f.name: getattr(self, f.name) for f in fields(Format)})
        return replace(plain, scale=self.scale * float(self.growth.detach().exp()))
