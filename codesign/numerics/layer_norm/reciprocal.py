"""LayerNorm with an integer square root and one reciprocal a row; the default.

With X the whole numbers of the codes (zero point gone, channel shifts done), on scale s:
    S = sum X,  V = C * sum X**2 - S**2 + E,  E = max(1, round(epsilon * C**2 / s**2))
    r = isqrt(2**12 * V),  R = floor(2**40 / r)
    n_c = ((C * X_c - S) * R + 2**23) >> 24            about 2**10 times the normalised value
    y_c = clamp(z' + ((n_c * A_c + B_c + 2**(shift - 1)) >> shift))
with A = round(gamma / s' * 2**(shift - 10)), |A| < 2**15, and B = round(beta / s' * 2**shift).
The sum and the sum of squares need one pass, as in FQ-ViT (Lin et al., arXiv 2111.13824), whose
reciprocal is per token and channel; ours is one a token.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from codesign.numerics.constants import Constants
from codesign.numerics.fixed_point import ACCUMULATOR_LIMIT, Format
from codesign.numerics.integer_functions import integer_sqrt
from codesign.numerics.layer_norm.base import (
    LayerNorm,
    Values,
    check_source,
    integer_epsilon,
    layer_norm_kind,
)

FRACTION_BITS = 10
ROOT_BITS = 12
RECIPROCAL_BITS = 40
NORMAL_SHIFT = RECIPROCAL_BITS - ROOT_BITS // 2 - FRACTION_BITS


@layer_norm_kind("reciprocal")
class ReciprocalLayerNorm(LayerNorm):
    """The variance is exact, the normalised value has 10 fraction bits."""

    operation = "layer_norm"
    hardware_function = "layer_norm"

    def constants(
        self, gamma: Values, beta: Values, epsilon: float, source: Format, target: Format
    ) -> Constants:
        """Return E, A, B and the shift; the last accumulator provably fits int32."""
        channels = len(gamma)
        check_source(channels, source)
        # |C X - S| <= sqrt(C V), and the floored root is at most 1/64 too small.
        normal_limit = int(np.ceil(1.02 * np.sqrt(channels))) * 2**FRACTION_BITS + 1
        e = integer_epsilon(epsilon, channels, source)
        for shift in range(24, 0, -1):
            a = np.floor(gamma / target.scale * 2.0 ** (shift - FRACTION_BITS) + 0.5)
            b = np.floor(beta / target.scale * 2.0**shift + 0.5)
            bound = normal_limit * np.abs(a) + np.abs(b) + 2 ** (shift - 1)
            if np.abs(a).max() < 2**15 and bound.max() <= ACCUMULATOR_LIMIT:
                tensors = {"scale": a.astype(np.int64), "offset": b.astype(np.int64)}
                return Constants(
                    {"epsilon": e, "shift": shift},
                    {role: torch.from_numpy(value) for role, value in tensors.items()},
                )
        raise ValueError("LayerNorm whose gamma or beta is too large for its output scale")

    def integer(self, codes: Tensor, source: Format, target: Format, c: Constants) -> Tensor:
        """Return the codes; float64 is exact below 2**53, the root is taken in int64."""
        x = source.integers(codes.double())
        channels, shift = x.shape[-1], c.attributes["shift"]
        total = x.sum(dim=-1, keepdim=True)
        squares = x.square().sum(dim=-1, keepdim=True)
        variance = channels * squares - total * total + c.attributes["epsilon"]
        root = integer_sqrt(variance.to(torch.int64) << ROOT_BITS)
        reciprocal = torch.floor(2.0**RECIPROCAL_BITS / root.double())
        normal = (channels * x - total) * reciprocal + 2.0 ** (NORMAL_SHIFT - 1)
        normal = torch.floor(normal / 2.0**NORMAL_SHIFT)
        a, b = (c.tensors[role].to(x.device).double() for role in ("scale", "offset"))
        result = (normal * a + b + 2.0 ** (shift - 1)) / 2.0**shift
        return result.floor_().add_(target.zero_point).clamp_(target.low, target.high).float()

    def constant_bits(self, channels: int) -> int:
        """Return the bits of A, B and the shift."""
        return channels * (16 + 32) + 6

    def twin(
        self,
        x: Tensor,
        gamma: Tensor | None,
        beta: Tensor | None,
        epsilon: float,
        source: Format,
        target: Format,
    ) -> Tensor:
        """Return the rounded LayerNorm: within one code of the integer form, and quicker."""
        return target.fake_quantize(F.layer_norm(x, (x.shape[-1],), gamma, beta, epsilon))
