"""Multiplication and addition by channel.

    y_c = clamp(z' + ((x * M_c + B_c + 2**(s_c - 1)) >> s_c))

It stands where a per-channel factor or offset cannot be folded into a layer: batch norms in front
of a layer, layer scale, the migration and shifting of Trio-ViT behind an activation.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codesign.numerics.fixed_point import ACCUMULATOR_LIMIT, Format

MULTIPLIER_LIMIT = 2**15
LARGEST_SHIFT = 30


@dataclass(frozen=True)
class AffineConstants:
    """The integers of one affine operation, (channels,) int64 each.

    Attributes:
        multiplier: M above, signed, magnitude below 2**15.
        offset: B above, signed, 32 bits.
        shift: s above, 1 to 30.
    """

    multiplier: NDArray[np.int64]
    offset: NDArray[np.int64]
    shift: NDArray[np.int64]


def affine_constants(
    scale: NDArray[np.float64], offset: NDArray[np.float64], source: Format, target: Format
) -> AffineConstants:
    """Return the integers of y = x * scale + offset; each channel takes the largest shift it can.

    Raises:
        ValueError: A factor or an offset is too large for its output's scale.
    """
    ratio, addend = scale * source.scale / target.scale, offset / target.scale
    multiplier = np.zeros(len(ratio), dtype=np.int64)
    constant, shift = np.zeros_like(multiplier), np.zeros_like(multiplier)
    for s in range(1, LARGEST_SHIFT + 1):
        m, b = (np.floor(np.ldexp(v, s) + 0.5) for v in (ratio, addend))
        bound = np.abs(m) * source.magnitude + np.abs(b) + 2 ** (s - 1)
        fits = (np.abs(m) < MULTIPLIER_LIMIT) & (bound <= ACCUMULATOR_LIMIT)
        multiplier[fits], constant[fits], shift[fits] = m[fits], b[fits], s
    if not shift.all():
        channel = int(np.argmin(shift))
        raise ValueError(f"channel {channel} is scaled by {ratio[channel]:.3g} codes a code")
    return AffineConstants(multiplier, constant, shift)
