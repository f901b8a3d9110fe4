"""Additive powers of two: a weight is a sum of up to three powers, so a product is few shifts.

Level sets of Li, Dong and Wang, "Additive powers-of-two quantization" (ICLR 2020), as their code
has them for every number of magnitude bits B = bits - 1, times the power of two that makes them
whole numbers.
"""

import itertools

import torch
from torch import Tensor

from codesign.numerics.weights.base import SCHEMES, WeightScheme, nearest

# B: the negated exponents that each term may have; a term may also be zero.
_TERMS: dict[int, tuple[tuple[int, ...], ...]] = {
    1: ((0,),),
    2: ((1, 2, 3),),
    3: ((1, 2, 4), (3,)),
    4: ((1, 3, 5), (2, 4, 6)),
    5: ((1, 3, 6), (2, 4, 7), (5,)),
    6: ((1, 4, 7), (2, 5, 8), (3, 6, 9)),
}


def term_exponents(bits: int) -> tuple[tuple[int, ...], ...]:
    """Return the exponents that each term of a `bits`-wide weight may have, largest first."""
    terms = _TERMS[bits - 1]
    least = max(itertools.chain(*terms))
    return tuple(tuple(least - e for e in term) for term in terms)


class Apot(WeightScheme):
    """Sums of one (2, 3 bits), two (4, 5 bits) or three (6, 7 bits) powers of two."""

    name = "apot"
    widths = (2, 7)
    hardware = "apot"

    def levels(self, bits: int) -> Tensor:
        """Return every sum of one choice of each term, ascending."""
        choices = [(0, *(2**e for e in term)) for term in term_exponents(bits)]
        sums = sorted({sum(chosen) for chosen in itertools.product(*choices)})
        return torch.tensor(sums, dtype=torch.float64)

    def round(self, ratio: Tensor, bits: int) -> Tensor:
        """Return the nearest level, ties up in magnitude."""
        return nearest(ratio, self.levels(bits))


SCHEMES.register("apot")(Apot())
