"""Softmax by a table of exponentials and a rounded division; the default.

    e = table[d], table[d] = round((2**15 - 1) * exp(-scale * d)), S = sum of e
    p = floor((2 * levels * e + S) / (2 * S))

that is levels * e / S rounded half up, on the scale 1 / levels, levels being the largest code. e
has 15 bits, S fits 31 bits for rows up to 65,536.
"""

import torch
from torch import Tensor

from codesign.numerics.constants import Constants
from codesign.numerics.fixed_point import Format
from codesign.numerics.softmax.base import EXP_ONE, Softmax, exponential_table, softmax_kind


@softmax_kind("table")
class TableSoftmax(Softmax):
    """Uniform codes; the largest stands for exactly one."""

    operation = "softmax"
    hardware_function = "softmax"

    def format(self, bits: int, probabilities: Tensor) -> Format:
        """Return unsigned codes of scale 1 / (2**bits - 1)."""
        return Format(bits, 1.0 / (2**bits - 1))

    def constants(self, source: Format, target: Format) -> Constants:
        """Return the table and the largest code.

        A code of y > 0 needs a probability of (2 y - 1) / (2 levels), so the codes of a row add up
        to 2 * levels at most, whatever its length.
        """
        attributes = {"levels": target.high, "row_limit": 2 * target.high}
        return Constants(attributes, {"table": exponential_table(source)})

    def exponentials(self, bits: int, c: Constants) -> Tensor:
        """Return the table."""
        return c.tensors["table"]

    def quotients(self, e: Tensor, total: Tensor, target: Format, c: Constants) -> Tensor:
        """Return levels * e / total rounded half up.

        Float64 is exact: dividends stay below 2**32, and a quotient below 2**9 that is no whole
        number differs from one by more than 2**-33.
        """
        return torch.floor((e * (2 * c.attributes["levels"]) + total) / (2 * total))

    def constant_bits(self, input_bits: int, bits: int) -> int:
        """Return the table's bits."""
        return int(2**input_bits * EXP_ONE.bit_length())

    def twin(self, x: Tensor, source: Format, target: Format) -> Tensor:
        """Return the rounded softmax: within one code of the integer form, and quicker."""
        return target.fake_quantize(torch.softmax(x, dim=-1))
