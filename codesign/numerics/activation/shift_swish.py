"""Shift-Swish: x * sigmoid(x) with exponentials made of shifts and additions.

Inspired by the ShiftGELU of I-ViT (Li and Gu, arXiv 2207.01405) without its factor 1.702, in the
form that the HyQ code (IDSL-SeoulTech) publishes under this name. Ours differs in the constants:
the maximum is that of the code range (static), and the division is exact to eight bits.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from codesign.numerics.activation.base import Activation, activation
from codesign.numerics.fixed_point import Format, dyadic
from codesign.numerics.straight_through import SiLUTable

EXPONENT_SHIFT = 20
"""Largest power of two in an exponential, exp(-x) is 0 below 2**-20."""
SIGMOID_BITS = 8


def shift_exp(v: Tensor, unit: int) -> Tensor:
    """Return unit * 2**20 * exp(v / unit) for whole v <= 0, by shifts and additions alone.

    log2(e) is taken as 1.4375 = 1 + 1/2 - 1/16, and 2**-f on [0, 1) as 1 - f/2.

    Args:
        v: int64, zero or negative.
        unit: Codes that make 1.0, at least 1.
    """
    power = v + (v >> 1) - (v >> 4)
    whole = torch.div(-power, unit, rounding_mode="floor")
    rest = -power - whole * unit
    mantissa = unit - (rest >> 1)
    return (mantissa << EXPONENT_SHIFT) >> whole.clamp(max=62)


@activation("shift_swish")
class ShiftSwish(Activation):
    """x * e^(x-m) / (e^(x-m) + e^(-m)) with shift-only exponentials, m the largest code's value."""

    operation = "shift_swish"
    hardware_function = "shift_swish"

    def float(self, x: Tensor) -> Tensor:
        """Return SiLU, the function that Shift-Swish approximates."""
        return F.silu(x)

    def constants(self, source: Format, target: Format) -> dict[str, int]:
        """Return the unit of the exponent, the maximum, and the dyadic ratio to the target."""
        multiplier, shift = dyadic(source.scale / 2**SIGMOID_BITS / target.scale)
        return {
            "unit": max(1, round(1.0 / source.scale)),
            "maximum": source.high - source.zero_point,
            "multiplier": int(multiplier[0]),
            "shift": int(shift[0]),
        }

    def integer(
        self, codes: Tensor, source: Format, target: Format, c: Mapping[str, int]
    ) -> Tensor:
        """Return the target codes; intermediate values stay below 2**45."""
        centred = codes.to(torch.int64) - source.zero_point
        one = shift_exp(centred - c["maximum"], c["unit"])
        other = shift_exp(torch.tensor(-c["maximum"]), c["unit"])
        total = (one + other).clamp(min=1)
        sigmoid = torch.div(one << SIGMOID_BITS, total, rounding_mode="floor")
        product = centred * sigmoid
        scaled = (product * c["multiplier"] + 2 ** (c["shift"] - 1)) >> c["shift"]
        return (target.zero_point + scaled).clamp(target.low, target.high)

    def twin(self, x: Tensor, source: Format, target: Format) -> Tensor:
        """Return the integer form's values exactly, with SiLU's gradient."""
        values = target.dequantize(self.table(source, target)).to(x.device, x.dtype)
        zero = source.zero_point - source.low
        return SiLUTable.apply(x, values, source.scale, zero)
