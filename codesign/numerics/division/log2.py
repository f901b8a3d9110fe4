"""Division by the power of two near the denominator: a shift.

Trio-ViT (Shi et al., arXiv 2405.03882, section IV-C), in the rule of its hardware: the denominator
is an 8-bit code x; with its leading one at bit i the exponent is e = i + (bit i - 1), rounded up
from 1.5 * 2**i on (the authors' software rounds at sqrt(2)):

    x = max(d + E, 1)        y = clamp(z' + ((n * M + 2**(s + e - 1)) >> (s + e)))

M / 2**s is the ratio of the scales. Numerator and denominator have formats of their own, of 8 bits.
"""

import torch
from torch import Tensor

from codesign.errors import UserError
from codesign.numerics.constants import Constants
from codesign.numerics.division.base import Division, division_kind
from codesign.numerics.fixed_point import Format
from codesign.numerics.integer_functions import round_log2


@division_kind("log2")
class Log2Division(Division):
    """A leading-one detector and a shifter; denominators are not negative."""

    operation = "log2_divide"
    hardware_function = "log2_divide"
    operand_bits = 8

    def check(self, denominator: Format) -> None:
        """Check that no code of the denominator stands for a negative number."""
        smallest = min(denominator.codebook, default=denominator.low - denominator.zero_point)
        if smallest < 0:
            raise UserError(
                "quantize.division=log2 needs a denominator that is never negative, and this one"
                " can be: use quantize.division=exact."
            )

    def quotients(
        self, numerator: Tensor, denominator: Tensor, target: Format, c: Constants
    ) -> Tensor:
        """Return the shifted products; |n * M| < 2**46 and float64 has the halves of 2**-46."""
        exponent = (round_log2(denominator.clamp(min=1)) + c.attributes["shift"]).double()
        factor = torch.ldexp(torch.ones_like(exponent), -exponent)
        scaled = torch.floor(numerator * c.attributes["multiplier"] * factor + 0.5)
        return (scaled + target.zero_point).clamp_(target.low, target.high)
