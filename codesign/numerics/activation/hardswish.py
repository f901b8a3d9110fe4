"""HardSwish, x * clip(x + 3, 0, 6) / 6, with two additions, two comparisons and a product."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from codesign.numerics.activation.base import Activation, activation
from codesign.numerics.fixed_point import Format, dyadic


@activation("hardswish")
class HardSwish(Activation):
    """x * relu6(x + 3) / 6 (Howard et al., "Searching for MobileNetV3", 2019, section 5.2).

    Integer form, with I = q - z and three = round(3 / scale):
    p = I * clamp(I + three, 0, 2 * three), then p is requantised by scale**2 / 6 / target scale.
    """

    operation = "hardswish"
    hardware_function = "hardswish"
    input_bits = 12

    def float(self, x: Tensor) -> Tensor:
        """Return x * relu6(x + 3) / 6."""
        return F.hardswish(x)

    def constants(self, source: Format, target: Format) -> dict[str, int]:
        """Return three and the dyadic ratio of p's scale to the target's.

        p's ratio is taken as scale / (2 * three), which makes the function the identity above 3
        exactly, whatever the rounding of three.
        """
        three = _three(source)
        multiplier, shift = dyadic(source.scale / (2 * three) / target.scale)
        return {"three": three, "multiplier": int(multiplier[0]), "shift": int(shift[0])}

    def integer(
        self, codes: Tensor, source: Format, target: Format, c: Mapping[str, int]
    ) -> Tensor:
        """Return the target codes of the integer form."""
        centred = codes.to(torch.int64) - source.zero_point
        product = centred * (centred + c["three"]).clamp(0, 2 * c["three"])
        scaled = (product * c["multiplier"] + 2 ** (c["shift"] - 1)) >> c["shift"]
        return (target.zero_point + scaled).clamp(target.low, target.high)

    def twin(self, x: Tensor, source: Format, target: Format) -> Tensor:
        """Return the function with its 3 rounded to a source code, as the integer form has it."""
        stretch = 3.0 / (_three(source) * source.scale)
        return target.fake_quantize(F.hardswish(source.fake_quantize(x) * stretch) / stretch)


def _three(source: Format) -> int:
    return max(1, round(3.0 / source.scale))
