"""ReLU: free in hardware, since unsigned codes with zero point 0 clip at zero by themselves."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from codesign.numerics.activation.base import Activation, activation
from codesign.numerics.fixed_point import Format, dyadic


@activation("relu")
class ReLU(Activation):
    """max(x, 0)."""

    operation = "requantize"
    hardware_function = "relu"
    clips = True

    def float(self, x: Tensor) -> Tensor:
        """Return max(x, 0)."""
        return F.relu(x)

    def constants(self, source: Format, target: Format) -> dict[str, int]:
        """Return the dyadic ratio of the scales."""
        multiplier, shift = dyadic(source.scale / target.scale)
        return {"multiplier": int(multiplier[0]), "shift": int(shift[0])}

    def integer(
        self, codes: Tensor, source: Format, target: Format, c: Mapping[str, int]
    ) -> Tensor:
        """Return max(q - z, 0) on the target's scale."""
        positive = (codes - source.zero_point).clamp(min=0)
        scaled = (positive * c["multiplier"] + 2 ** (c["shift"] - 1)) >> c["shift"]
        return (target.zero_point + scaled).clamp(target.low, target.high).to(torch.int64)

    def twin(self, x: Tensor, source: Format, target: Format) -> Tensor:
        """Return max(x, 0) rounded once: the layer before writes the target's codes itself."""
        return target.fake_quantize(F.relu(x))
