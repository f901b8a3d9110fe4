"""Integer LayerNorm over C channels, with an integer square root and one reciprocal a row.

With X = q - z (whole), on scale s:
    S = sum X,  V = C * sum X**2 - S**2 + E,  E = max(1, round(epsilon * C**2 / s**2))
    r = isqrt(2**12 * V),  R = floor(2**40 / r)
    n_c = ((C * X_c - S) * R + 2**23) >> 24            about 2**10 times the normalised value
    y_c = clamp(z' + ((n_c * A_c + B_c + 2**(shift - 1)) >> shift))
with A = round(gamma / s' * 2**(shift - 10)), |A| < 2**15, and B = round(beta / s' * 2**shift).
The sum and the sum of squares need one pass, as in FQ-ViT (Lin et al., arXiv 2111.13824), whose
reciprocal is per token and channel; ours is one a token.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codesign.numerics.fixed_point import ACCUMULATOR_LIMIT, Format

FRACTION_BITS = 10
ROOT_BITS = 12
RECIPROCAL_BITS = 40
NORMAL_SHIFT = RECIPROCAL_BITS - ROOT_BITS // 2 - FRACTION_BITS
MAX_CHANNELS = 4096
MAX_EPSILON = 2**38


@dataclass(frozen=True)
class LayerNormConstants:
    """The integers of one LayerNorm.

    Attributes:
        epsilon: E above.
        scale: A above, (channels,) int64.
        offset: B above, (channels,) int64.
        shift: The final shift.
    """

    epsilon: int
    scale: NDArray[np.int64]
    offset: NDArray[np.int64]
    shift: int


def layer_norm_constants(
    gamma: NDArray[np.float64],
    beta: NDArray[np.float64],
    epsilon: float,
    source: Format,
    target: Format,
) -> LayerNormConstants:
    """Return the integers of a LayerNorm; the last accumulator provably fits int32.

    Raises:
        ValueError: More than 4096 channels, codes over 8 bits, or no shift keeps int32.
    """
    channels = len(gamma)
    if channels > MAX_CHANNELS or source.bits > 8:
        raise ValueError(f"LayerNorm of {channels} channels of {source.bits}-bit codes")
    # |C X - S| <= sqrt(C V), and the floored root is at most 1/64 too small.
    normal_limit = int(np.ceil(1.02 * np.sqrt(channels))) * 2**FRACTION_BITS + 1
    e = max(1, min(round(epsilon * channels**2 / source.scale**2), MAX_EPSILON))
    for shift in range(24, 0, -1):
        a = np.floor(gamma / target.scale * 2.0 ** (shift - FRACTION_BITS) + 0.5)
        b = np.floor(beta / target.scale * 2.0**shift + 0.5)
        bound = normal_limit * np.abs(a) + np.abs(b) + 2 ** (shift - 1)
        if np.abs(a).max() < 2**15 and bound.max() <= ACCUMULATOR_LIMIT:
            return LayerNormConstants(e, a.astype(np.int64), b.astype(np.int64), shift)
    raise ValueError("LayerNorm whose gamma or beta is too large for its output scale")


def integer_sqrt(x: Tensor) -> Tensor:
    """Return floor(sqrt(x)) of float64 whole numbers below 2**52, exactly."""
    root = torch.floor(torch.sqrt(x))
    root = root - (root * root > x).double()
    return root + ((root + 1) * (root + 1) <= x).double()


def layer_norm(codes: Tensor, c: LayerNormConstants, source: Format, target: Format) -> Tensor:
    """Return the codes of a LayerNorm over the last dimension.

    Every value is a whole number below 2**53, so float64 is exact.

    Args:
        codes: (..., channels) whole numbers of any float type.
        c: The constants.
        source: Format of the codes.
        target: Format of the result.

    Returns:
        (..., channels) float32 whole numbers.
    """
    x = codes.double() - source.zero_point
    channels = x.shape[-1]
    total = x.sum(dim=-1, keepdim=True)
    variance = channels * x.square().sum(dim=-1, keepdim=True) - total * total + c.epsilon
    root = integer_sqrt(variance * 2**ROOT_BITS)
    reciprocal = torch.floor(2.0**RECIPROCAL_BITS / root)
    normal = ((channels * x - total) * reciprocal + 2.0 ** (NORMAL_SHIFT - 1)) / 2.0**NORMAL_SHIFT
    a = torch.as_tensor(c.scale, dtype=torch.float64, device=x.device)
    b = torch.as_tensor(c.offset, dtype=torch.float64, device=x.device)
    result = (torch.floor(normal) * a + b + 2.0 ** (c.shift - 1)) / 2.0**c.shift
    return result.floor_().add_(target.zero_point).clamp_(target.low, target.high).float()
