"""Log-Int-Softmax: exponentials by a polynomial, probabilities as powers of two.

FQ-ViT (Lin et al., IJCAI 2022, arXiv 2111.13824, section 3.4), whose i-exp is I-BERT's (Kim et
al., ICML 2021, arXiv 2101.01321, section 3.5). With unit = ceil(0.6931 / s) codes that make ln 2:

    I = min(d << g, n * unit)      q = I // unit      r = I - q * unit
    e = (r * (r - b) + c) << (n - q)     b = floor(2.7073... / s)     c = floor(2.7921... / s**2)
    ratio = (2 * S + e) // (2 * e)         S / e rounded half up
    k = floor(log2 ratio), plus one where ratio >= 1.5 * 2**k

and 2**-k is the probability. Code k stands for it up to k = 14; what is smaller gets the largest
code, 2**bits - 1, which stands for zero, so that hardware gates the product. The published 4-bit
simulation has 17 outcomes, 2**-15 and zero in one code; 15 is zero here. n limits the shift: 16 in
place of the published 30, which needs sums of 44 bits and changes nothing that is visible.
"""

import math

import torch
from torch import Tensor

from codesign.numerics.constants import Constants
from codesign.numerics.fixed_point import Format
from codesign.numerics.softmax.base import MAX_ROW, Softmax, as_attributes, softmax_kind, spread

LN2 = 0.6931
SQUARE, LINEAR = 0.35815147, 0.96963238
"""exp(p) is near SQUARE * p**2 + LINEAR * p + 1 on (-ln 2, 0]; SQUARE cancels in the ratio."""
LARGEST_EXPONENT = 14


@softmax_kind("log_int")
class LogIntSoftmax(Softmax):
    """Probabilities of powers of two: attention times value is a sum of shifts.

    Args:
        limit: n above.
    """

    operation = "log_int_softmax"
    hardware_function = "log_int_softmax"
    widths = range(3, 9)

    def __init__(self, limit: int = 16) -> None:
        self.limit = limit

    def format(self, bits: int, probabilities: Tensor) -> Format:
        """Return codes of 2**-code; from 4 bits on the codes are the same."""
        top = _top(bits)
        codebook = tuple(2 ** (top - q) if q <= top else 0 for q in range(2**bits))
        return Format(bits, 2.0**-top, codebook=codebook)

    def constants(self, source: Format, target: Format) -> Constants:
        """Return unit, b, c, n and the shift of a distance.

        n is no larger than the largest distance needs: the ratios are the same. 2**-k is below
        1.5 e / S, as ratio <= 1.5 * 2**k - 1 where k > 0 and S / e < ratio + 1/2: hence row_limit.
        """
        shift, scale = spread(source.scale)
        unit = math.ceil(LN2 / scale)
        limit = min(self.limit, math.ceil(((2**source.bits - 1) << shift) / unit))
        linear, constant = LINEAR / SQUARE / scale, 1.0 / SQUARE / scale**2
        return Constants(
            as_attributes(
                unit=unit,
                linear=math.floor(linear),
                constant=math.floor(constant),
                limit=limit,
                distance_shift=shift,
                largest_exponent=_top(target.bits),
                row_limit=3 * 2 ** (_top(target.bits) - 1),
            )
        )

    def exponentials(self, bits: int, c: Constants) -> Tensor:
        """Return the polynomial's values, shifted."""
        a = c.attributes
        distance = torch.arange(2**bits) << a["distance_shift"]
        distance = distance.clamp(max=a["limit"] * a["unit"])
        whole = distance // a["unit"]
        rest = distance - whole * a["unit"]
        return (rest * (rest - a["linear"]) + a["constant"]) << (a["limit"] - whole)

    def quotients(self, e: Tensor, total: Tensor, target: Format, c: Constants) -> Tensor:
        """Return the exponents of total / e, those too large as the code of zero.

        The exponent is the number of 1.5 * 2**j, j = 0, 1, ..., that the ratio reaches.
        """
        top = c.attributes["largest_exponent"]
        steps = 1.5 * 2.0 ** torch.arange(top + 1, dtype=torch.float64, device=e.device)
        ratio = torch.floor((2 * total + e) / (2 * e))
        exponent = torch.bucketize(ratio, steps, right=True, out_int32=True)
        return torch.where(exponent > top, target.high, exponent)

    def longest_row(self, c: Constants) -> int:
        """Return the longest row whose 2 * S + e float64 holds exactly."""
        peak = c.attributes["constant"] << c.attributes["limit"]
        return int(min(MAX_ROW, 2**52 // peak - 1))

    def log2_width(self, bits: int) -> int:
        """Return the width of a sign (always plus) and the exponent or the code of zero."""
        return (_top(bits) + 1).bit_length() + 1

    def constant_bits(self, input_bits: int, bits: int) -> int:
        """Return the bits of unit, b, c and n."""
        return 14 + 16 + 30 + 5


def _top(bits: int) -> int:
    return min(2**bits - 2, LARGEST_EXPONENT)
