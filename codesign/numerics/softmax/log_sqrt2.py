"""Probabilities as powers of the square root of two.

The quantiser of RepQ-ViT (Li et al., ICCV 2023, arXiv 2212.08254, section 3.3): code q =
round(-2 * log2(p / delta)), worth delta * 2**(-q / 2). Even codes are shifts; the odd ones' factor
is 181 / 256 for 1 / sqrt(2) (relative error 1e-4), a product with a constant in hardware. The
thresholds are those of the rounding itself, exact: code q takes P with P**4 * 2**(2 q + 1) >= D**4,
D being delta on P's scale. The largest code stands for zero, and is what comes behind code 18, or
behind the last but one where there are fewer. RepQ-ViT finds delta on the float probabilities
among their quantiles 0.999, 0.9999 and 0.99999; so do we, with the largest added.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from codesign.numerics.fixed_point import Format
from codesign.numerics.softmax.base import sample, softmax_kind
from codesign.numerics.softmax.codebook import WIDE_BITS, CodebookSoftmax, largest

LARGEST_CODE = 18
_QUANTILES = (0.999, 0.9999, 0.99999, 1.0)
_ROOT_HALF = 181
"""256 / sqrt(2), rounded."""


@softmax_kind("log_sqrt2")
class LogSqrt2Softmax(CodebookSoftmax):
    """Two levels an octave."""

    widths = range(3, 9)

    def format(self, bits: int, probabilities: Tensor) -> Format:
        """Return the codes with the delta of least squared error."""
        p, last = sample(probabilities), _last(bits)
        quantiles = torch.quantile(p, torch.tensor(_QUANTILES, dtype=p.dtype, device=p.device))
        deltas = sorted({largest(q) for q in quantiles})
        delta = min(deltas, key=lambda candidate: _error(p, candidate, last))
        one = max(round(delta * 2**WIDE_BITS), 1)
        scale = one / 2.0**WIDE_BITS / _value(0, last)
        codebook = tuple(_value(q, last) if q <= last else 0 for q in range(2**bits))
        return Format(bits, scale, codebook=codebook)

    def levels(self, target: Format) -> tuple[Sequence[int], Sequence[int]]:
        """Return the thresholds of round(-2 * log2(p / delta))."""
        last = _last(target.bits)
        one = round(target.scale * _value(0, last) * 2**WIDE_BITS)
        codes = range(last, -1, -1)
        return [_threshold(one, q) for q in codes], [target.high, *codes]


def _last(bits: int) -> int:
    return min(2**bits - 2, LARGEST_CODE)


def _value(code: int, last: int) -> int:
    """Return the whole number of a code; the smallest odd code is worth 181."""
    top = 8 + (last - 1) // 2
    power = 2 ** (top - code // 2)
    return power * _ROOT_HALF // 256 if code % 2 else power


def _threshold(one: int, code: int) -> int:
    """Return the smallest P with P**4 * 2**(2 * code + 1) >= one**4, at least 1."""
    p = max(int(one * 2.0 ** (-(2 * code + 1) / 4)) - 1, 1)
    while p**4 * 2 ** (2 * code + 1) < one**4:
        p += 1
    return p


def _error(p: Tensor, delta: float, last: int) -> float:
    code = torch.floor(-2 * torch.log2(p.clamp(min=1e-30) / delta) + 0.5).clamp(min=0)
    value = torch.where(code <= last, delta * 2.0 ** (-code / 2), torch.zeros_like(p))
    return float((value - p).square().mean())
