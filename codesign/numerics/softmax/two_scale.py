"""Probabilities in two regions: small ones on a finer scale.

Inspired by PTQ4ViT's twin uniform quantisation (Yuan et al., ECCV 2022, arXiv 2111.12293, section
3.2) and TSPTQ-ViT (Tai et al., ICASSP 2023, arXiv 2305.12901). The top bit of a code is the
region, the others a number c: c on the scale 2**-r of the upper region, or c itself times 2**r. The
upper region reaches the power of two above the largest probability; r, 0 to 8, has the least
squared error. Thresholds are the midpoints of neighbouring values (a tie goes up), in whole numbers
of P exactly: the least P with 2 * P * top >= (a + b) * D, D being the largest value on P's scale.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from codesign.numerics.fixed_point import Format
from codesign.numerics.softmax.base import sample, softmax_kind
from codesign.numerics.softmax.codebook import WIDE_BITS, CodebookSoftmax, largest

LARGEST_RATIO = 8


@softmax_kind("two_scale")
class TwoScaleSoftmax(CodebookSoftmax):
    """One flag bit, two uniform scales at a power-of-two ratio."""

    widths = range(3, 9)

    def format(self, bits: int, probabilities: Tensor) -> Format:
        """Return the codes with the ratio of least squared error."""
        p = sample(probabilities)
        reach = 2.0 ** math.ceil(math.log2(largest(p)))
        formats = [_format(bits, reach, r) for r in range(LARGEST_RATIO + 1)]
        return min(formats, key=lambda f: float((f.dequantize(f.quantize(p)) - p).square().mean()))

    def levels(self, target: Format) -> tuple[Sequence[int], Sequence[int]]:
        """Return the midpoints of neighbouring values; of two codes of a value, the finer's."""
        codes: dict[int, int] = {}
        for code, value in enumerate(target.codebook):
            codes.setdefault(value, code)
        values = sorted(codes)
        reach = round(target.scale * values[-1] * 2**WIDE_BITS)
        middles = [-(-(a + b) * reach // (2 * values[-1])) for a, b in pairwise(values)]
        return [max(t, 1) for t in middles], [codes[v] for v in values]


def _format(bits: int, reach: float, ratio: int) -> Format:
    numbers = range(2 ** (bits - 1))
    codebook = (*numbers, *(c << ratio for c in numbers))
    return Format(bits, reach / codebook[-1], codebook=codebook)
