"""Integer normalisation of rows of any length: GroupNorm, and rows over their root mean square.

With N whole numbers x in a row, on scale s, and t the smallest shift, 0 or more, for which
N * max|x| * 2**-t is below 2**19:
    S = sum x, Q = sum x**2
    V = ((N * Q - S**2) >> 2 * t) + E        GroupNorm;     V = ((N * Q) >> 2 * t) + E        RMS
    D_c = (N * x_c - S) >> t                 GroupNorm;     D_c = (N * x_c) >> t              RMS
    R = 2**40 // isqrt(2**12 * V)            E = max(1, round(epsilon * N**2 / (4**t * s**2)))
    n_c = (D_c * R + 2**23) >> 24            about 2**10 times the normalised value
    y_c = clamp(z' + ((n_c * A_c + B_c + 2**(shift - 1)) >> shift))
One pass takes both sums, and there is one reciprocal a row, as in this project's LayerNorm.
GroupNorm is Wu and He, "Group Normalization" (ECCV 2018, section 3); rms_norm is Zhang and
Sennrich, "Root Mean Square Layer Normalization" (NeurIPS 2019, equation 4). The integer form is
ours.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codesign.numerics.fixed_point import ACCUMULATOR_LIMIT, Format
from codesign.numerics.integer_functions import integer_sqrt

FRACTION_BITS = 10
ROOT_BITS = 12
RECIPROCAL_BITS = 40
NORMAL_SHIFT = RECIPROCAL_BITS - ROOT_BITS // 2 - FRACTION_BITS
DEVIATION_BITS = 19
MAX_EPSILON = 2**38
MAX_PRODUCT = 2**31
"""Limit of row length times largest magnitude: N * Q stays below 2**62."""


@dataclass(frozen=True)
class RowConstants:
    """The integers of one normalisation of rows.

    Attributes:
        epsilon: E above.
        row_shift: t above.
        scale: A above, (channels,) int64, or (1,).
        offset: B above, (channels,) int64, or (1,).
        shift: The final shift.
    """

    epsilon: int
    row_shift: int
    scale: NDArray[np.int64]
    offset: NDArray[np.int64]
    shift: int


def row_constants(
    count: int,
    gamma: NDArray[np.float64],
    beta: NDArray[np.float64],
    epsilon: float,
    source: Format,
    target: Format,
) -> RowConstants:
    """Return the integers of a normalisation; the last accumulator provably fits int32.

    Args:
        count: Elements of a row.
        gamma: Factor of each channel (or one).
        beta: Offset of each channel (or one).
        epsilon: Added to the variance or the mean square, in real units.
        source: Format of the row.
        target: Format of the result.

    Raises:
        ValueError: The row is too long, or gamma or beta too large for the result's scale.
    """
    product = count * source.magnitude
    if product >= MAX_PRODUCT:
        raise ValueError(f"normalisation of rows of {count} elements")
    t = max(0, product.bit_length() - DEVIATION_BITS)
    e = round(min(epsilon * count**2 / (4.0**t * source.scale**2), MAX_EPSILON))
    limit = normal_limit(count)
    for shift in range(24, 0, -1):
        a = np.floor(gamma / target.scale * 2.0 ** (shift - FRACTION_BITS) + 0.5)
        b = np.floor(beta / target.scale * 2.0**shift + 0.5)
        bound = limit * np.abs(a) + np.abs(b) + 2 ** (shift - 1)
        if np.abs(a).max() < 2**15 and bound.max() <= ACCUMULATOR_LIMIT:
            return RowConstants(max(1, e), t, a.astype(np.int64), b.astype(np.int64), shift)
    raise ValueError("normalisation whose factor or offset is too large for its output scale")


def normal_limit(count: int) -> int:
    """Return a bound on |n|.

    D**2 <= N * V plus rounding, both for deviations and for the numbers themselves, and the floored
    root is at most 1/64 too small.
    """
    return int(np.ceil(1.02 * (np.sqrt(count) + 1))) * 2**FRACTION_BITS + 1


def normal_rows(x: Tensor, epsilon: int, row_shift: int, *, centre: bool) -> Tensor:
    """Return n of rows in the last dimension, float64 whole numbers.

    Args:
        x: Centred whole numbers of any float type.
        epsilon: E above.
        row_shift: t above.
        centre: GroupNorm's form, else that of the root mean square.
    """
    x = x.double()
    count = x.shape[-1]
    squares = x.square().sum(dim=-1, keepdim=True).to(torch.int64)
    total = x.sum(dim=-1, keepdim=True) if centre else torch.zeros_like(squares)
    whole = total.to(torch.int64)
    variance = ((count * squares - whole * whole) >> (2 * row_shift)) + epsilon
    root = integer_sqrt(variance << ROOT_BITS).double()
    reciprocal = torch.floor(2.0**RECIPROCAL_BITS / root)
    deviation = torch.floor((count * x - total) / 2.0**row_shift)
    return torch.floor((deviation * reciprocal + 2.0 ** (NORMAL_SHIFT - 1)) / 2.0**NORMAL_SHIFT)
