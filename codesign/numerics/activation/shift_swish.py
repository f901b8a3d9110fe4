"""Shift-Swish: x * sigmoid(x) with an exponential made of shifts and additions.

Inspired by the ShiftGELU of I-ViT (Li and Gu, arXiv 2207.01405) without its factor 1.702, in the
form that the HyQ code (IDSL-SeoulTech) publishes under this name. Both subtract the largest value
of the tensor from every exponent. Ours takes exp(-|x|) and the symmetry of the sigmoid instead: it
needs no maximum, and nothing underflows where it matters (with a maximum of 30, exp(x - 30) is 0 in
20 fraction bits up to x = 16).
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
    """x / (1 + e) above zero, x * e / (1 + e) below, with e = exp(-|x|) by shifts and additions."""

    operation = "shift_swish"
    hardware_function = "shift_swish"
    slope = 1.0
    """Factor of x inside the sigmoid."""
    look_up: type[torch.autograd.Function] = SiLUTable
    """Reads the table of values, with the gradient of the function it approximates."""

    def float(self, x: Tensor) -> Tensor:
        """Return SiLU, the function that Shift-Swish approximates."""
        return F.silu(x)

    def constants(self, source: Format, target: Format) -> dict[str, int]:
        """Return the unit of the exponent and the dyadic ratio to the target."""
        multiplier, shift = dyadic(source.scale / 2**SIGMOID_BITS / target.scale)
        return {
            "unit": max(1, round(1.0 / (self.slope * source.scale))),
            "multiplier": int(multiplier[0]),
            "shift": int(shift[0]),
        }

    def integer(
        self, codes: Tensor, source: Format, target: Format, c: Mapping[str, int]
    ) -> Tensor:
        """Return the target codes of the integer form."""
        centred = codes.to(torch.int64) - source.zero_point
        one = c["unit"] << EXPONENT_SHIFT
        e = shift_exp(-centred.abs(), c["unit"])
        above = torch.where(centred >= 0, torch.full_like(e, one), e)
        sigmoid = torch.div(above << SIGMOID_BITS, one + e, rounding_mode="floor")
        product = centred * sigmoid
        scaled = (product * c["multiplier"] + 2 ** (c["shift"] - 1)) >> c["shift"]
        return (target.zero_point + scaled).clamp(target.low, target.high)

    def twin(self, x: Tensor, source: Format, target: Format) -> Tensor:
        """Return the integer form's values exactly, with the gradient of `float`."""
        values = target.dequantize(self.table(source, target)).to(x.device, x.dtype)
        zero = source.zero_point - source.low
        return self.look_up.apply(x, values, source.scale, zero)
