"""Probabilities as the nearest entry of a codebook: what log_sqrt2 and two_scale share.

    e = table[d] (15 bits), S = sum of e
    P = floor((2**16 * e + S) / (2 * S))       e / S on the scale 2**-15, rounded half up
    level = number of thresholds that are at most P          y = codes[level]

P fits 16 bits, its dividend 32. A code of value v needs P of at least its threshold t, and a real
e / S of (t - 1/2) / 2**15: the values of a row therefore add up to the largest 2**16 * v /
(2 * t - 1) at most, whatever its length.
"""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from codesign.numerics.constants import Constants
from codesign.numerics.fixed_point import Format
from codesign.numerics.softmax.base import EXP_ONE, Softmax, as_attributes, exponential_table

WIDE_BITS = 15


class CodebookSoftmax(Softmax):
    """A softmax whose codes are found by comparison with integer thresholds."""

    operation = "codebook_softmax"
    hardware_function = "codebook_softmax"

    @abstractmethod
    def levels(self, target: Format) -> tuple[Sequence[int], Sequence[int]]:
        """Return (thresholds, codes) in rising order of value, the code of zero first."""

    def constants(self, source: Format, target: Format) -> Constants:
        """Return the exponentials, the thresholds and the codes between them."""
        thresholds, codes = self.levels(target)
        pairs = zip(thresholds, codes[1:], strict=True)
        limit = max(2**16 * target.codebook[q] // (2 * t - 1) for t, q in pairs)
        tensors = {
            "table": exponential_table(source),
            "thresholds": torch.tensor(thresholds),
            "codes": torch.tensor(codes),
        }
        return Constants(as_attributes(row_limit=limit), tensors)

    def exponentials(self, bits: int, c: Constants) -> Tensor:
        """Return the table."""
        return c.tensors["table"]

    def quotients(self, e: Tensor, total: Tensor, target: Format, c: Constants) -> Tensor:
        """Return the codes of the probabilities' levels."""
        wide = torch.floor((e * 2.0 ** (WIDE_BITS + 1) + total) / (2 * total))
        level = torch.bucketize(wide, c.tensors["thresholds"].double(), right=True, out_int32=True)
        return c.tensors["codes"][level]

    def constant_bits(self, input_bits: int, bits: int) -> int:
        """Return the bits of the table and of the thresholds."""
        return int(2**input_bits * EXP_ONE.bit_length() + 2**bits * (WIDE_BITS + 1))


def largest(probabilities: Tensor) -> float:
    """Return the largest probability, between 2**-6 and 1."""
    return min(max(float(probabilities.max()), 2.0**-6), 1.0)
