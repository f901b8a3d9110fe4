"""Mixed weights: some output channels log2, the others uniform, so that two arrays work at once.

The idea of computing part of a layer's filters with shifts and part with multiplications, split by
output channel so that both kinds of engine are busy, is that of Chang et al., "Mix and Match: a
novel FPGA-centric deep neural network quantization framework" (HPCA 2021). There the rows of least
variance are powers of two; here those that lose least by it.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from codesign.numerics.weights.base import SCHEMES, Option, WeightScheme, around, per_channel
from codesign.numerics.weights.log2 import Log2
from codesign.numerics.weights.uniform import Uniform

_LOG2, _UNIFORM = Log2(), Uniform()


@dataclass(frozen=True, eq=False)
class Mixed(WeightScheme):
    """A share of the output channels log2, the rest uniform of the same width.

    Attributes:
        log2_channels: (out_channels,) bool, True where the channel is log2; `fitted` sets it.
    """

    log2_channels: Tensor | None = None

    name = "mixed"
    widths = (2, 5)
    hardware = "mixed"
    option = Option("the share of output channels that are log2", 0.0, 1.0, required=True)

    def fitted(self, weight: Tensor, bits: int, option: float | None) -> "Mixed":
        """Return the scheme with floor(share * channels + 1/2) channels log2.

        They are those whose log2 error is least relative to their uniform error, both at the
        scale that suits them best.
        """
        if option is None:
            raise ValueError("a mixed format needs its share of log2 channels")
        flat = weight.detach().reshape(len(weight), -1).float()
        errors = [s.errors(flat, s.search_scale(flat, bits), bits) for s in (_LOG2, _UNIFORM)]
        order = torch.argsort(errors[0] / errors[1].clamp(min=1e-30), stable=True)
        mask = torch.zeros(len(weight), dtype=torch.bool, device=weight.device)
        mask[order[: math.floor(option * len(weight) + 0.5)]] = True
        return Mixed(mask)

    def levels(self, bits: int) -> Tensor:
        """Return the magnitudes that either kind of channel has."""
        return torch.cat([_LOG2.levels(bits), _UNIFORM.levels(bits)]).unique()

    def limits(self, bits: int) -> Tensor:
        """Return each channel's largest whole number."""
        log2 = self._mask()
        return torch.where(log2, _LOG2.largest(bits), _UNIFORM.largest(bits)).float()

    def round(self, ratio: Tensor, bits: int) -> Tensor:
        """Return each channel's nearest level, channels along the first dimension."""
        log2 = per_channel(self._mask(), ratio).to(ratio.device)
        return torch.where(log2, _LOG2.round(ratio, bits), _UNIFORM.round(ratio, bits))

    def neighbours(self, weight: Tensor, scale: Tensor, bits: int) -> tuple[Tensor, Tensor]:
        """Return the levels below and above each ratio among its channel's own."""
        ratio = weight / per_channel(scale, weight)
        log2 = per_channel(self._mask(), weight).to(weight.device)
        pairs = zip(*(around(ratio, s.levels(bits)) for s in (_LOG2, _UNIFORM)), strict=True)
        down, up = (torch.where(log2, a, b) for a, b in pairs)
        return down, up

    def _mask(self) -> Tensor:
        if self.log2_channels is None:
            raise ValueError("mixed weights must be fitted to a layer first")
        return self.log2_channels


SCHEMES.register("mixed")(Mixed())
