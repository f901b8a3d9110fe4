"""Integer softmax: a table of exponentials, a sum, and a rounded division.

For codes q of scale s in a row of n: d = max(q) - q, e = table[d] with
table[d] = round((2**15 - 1) * exp(-s * d)), S = sum(e), and the probability's code on scale
1/255 is p = floor((2 * 255 * e + S) / (2 * S)), that is 255 * e / S rounded half up. e has 15
bits, S fits 31 bits for rows up to 65,536.
"""

import torch
from torch import Tensor

from codesign.numerics.fixed_point import Format

EXP_ONE = 2**15 - 1
MAX_ROW = 2**16


def exponential_table(source: Format) -> Tensor:
    """Return round((2**15 - 1) * exp(-scale * d)) for d from 0 to 2**bits - 1, int64."""
    distance = torch.arange(2**source.bits, dtype=torch.float64)
    return torch.floor(EXP_ONE * torch.exp(-source.scale * distance) + 0.5).to(torch.int64)


def probability_format(bits: int) -> Format:
    """Return the format of probabilities: the largest code is exactly one."""
    return Format(bits, 1.0 / (2**bits - 1))


def softmax(codes: Tensor, table: Tensor, levels: int) -> Tensor:
    """Return the probability codes of rows of codes.

    Float64 is exact here: numerators stay below 2**26, sums below 2**31, and a quotient below 2**8
    that is no whole number differs from one by more than 2**-32.

    Args:
        codes: (..., n) whole numbers of any float type.
        table: `exponential_table`, float64.
        levels: Largest code of the result, 2**bits - 1.

    Returns:
        (..., n) float32 whole numbers.
    """
    distance = codes.amax(dim=-1, keepdim=True) - codes
    e = table[distance.to(torch.int32)]
    total = e.sum(dim=-1, keepdim=True)
    return torch.floor((e * (2 * levels) + total) / (2 * total)).float()
