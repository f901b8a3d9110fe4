"""Division by a rounded quotient; the default.

    D = d + E, one where that is zero; both signs changed where D < 0
    y = clamp(z' + (2 * n * M + (D << s)) // (D << (s + 1)))

that is n * M / (D * 2**s) rounded half up, M / 2**s being the ratio of the scales. Operands are
read at 16 bits: a row sum is much larger than the values it divides, and at 8 bits little would be
left of both where one tensor holds them.
"""

import torch
from torch import Tensor

from codesign.numerics.constants import Constants
from codesign.numerics.division.base import Division, division_kind
from codesign.numerics.fixed_point import Format


@division_kind("exact")
class ExactDivision(Division):
    """A divider; denominators may have either sign."""

    operation = "divide"
    hardware_function = "divide"
    operand_bits = 0

    def quotients(
        self, numerator: Tensor, denominator: Tensor, target: Format, c: Constants
    ) -> Tensor:
        """Return the rounded quotients.

        Float64 is exact: |2 n M| < 2**48 and D << (s + 1) < 2**48, so that a quotient that is no
        whole number differs from one by 2**-48 at least and by more than its own rounding.
        """
        d = torch.where(denominator == 0, torch.ones_like(denominator), denominator)
        n, d = numerator * d.sign(), d.abs() * 2.0 ** c.attributes["shift"]
        quotient = torch.floor((2 * n * c.attributes["multiplier"] + d) / (2 * d))
        return (quotient + target.zero_point).clamp_(target.low, target.high)
