"""FQ-ViT's LayerNorm: an 8-bit multiplier and a shift for each token and channel.

Lin et al., "FQ-ViT" (IJCAI 2022, arXiv 2111.13824, section 3.3 and the authors' code): with X the
whole numbers of the codes, A = (s / std) * gamma / s',

    N = clamp(7 - floor(log2 |A|), 0, 31)     M = min(floor(|A| * 2**N), 255)
    B = round((beta / s' - A * mean(X)) * 2**N)
    y = clamp(z' + round((sign(A) * M * X + B) / 2**N))

They are computed in floating point there. Ours are whole numbers: gamma's share of A is a 16-bit
mantissa G_c and an exponent h_c, C * |gamma_c| / s' = G_c * 2**-h_c with 2**15 <= G_c < 2**16, and

    S = sum X     V = C * sum X**2 - S**2 + E     E as in "reciprocal", the guard of std = 0
    t even, 2**60 <= V << t < 2**62     r = isqrt(V << t)     rho = 2**61 // r + 1
    P_c = G_c * rho     L = bits of P_c     |A_c| = P_c * 2**(t/2 - h_c - 61), from above by 2**-29
    N_c = clamp(7 - (L - 1 + t/2 - h_c - 61), 0, 31), or 0 where gamma is
    a_c = min(P_c >> (37 + h_c - t/2 - N_c), 2**32 - 1)      |A_c| * 2**(N_c + 24)
    M_c = a_c >> 24
    B_c = ((b_c << N_c) - (sign_c * a_c * S) // (2**8 * C) + 2**15) >> 16
                                                             b_c = round(beta / s' * 2**16)
    y_c = clamp(z' + ((sign_c * M_c * X_c + B_c + ((1 << N_c) >> 1)) >> N_c))

M is the published floor unless |A| * 2**N falls short of a whole number by less than 2**-21. |A| is
limited below 2**8 in M, as published, and in B too. Halves round up, once.
"""

import numpy as np
import torch
from torch import Tensor

from codesign.numerics.constants import Constants
from codesign.numerics.fixed_point import Format
from codesign.numerics.integer_functions import bit_length, integer_sqrt
from codesign.numerics.layer_norm.base import (
    LayerNorm,
    Values,
    check_source,
    integer_epsilon,
    layer_norm_kind,
)

MANTISSA_BITS = 16
ROOT_BITS = 62
FRACTION_BITS = 24
MULTIPLIER_LIMIT = 2 ** (8 + FRACTION_BITS) - 1
OFFSET_BITS = 16
MAX_SHIFT = 31


@layer_norm_kind("fq_vit")
class FQViTLayerNorm(LayerNorm):
    """An 8-bit multiplication of each element in place of wide ones."""

    operation = "layer_norm_8bit"
    hardware_function = "layer_norm_8bit"

    def constants(
        self, gamma: Values, beta: Values, epsilon: float, source: Format, target: Format
    ) -> Constants:
        """Return E, the mantissas with gamma's sign, the exponents and b."""
        channels = len(gamma)
        check_source(channels, source)
        factor = channels * np.abs(gamma) / target.scale
        exponent = np.frexp(factor)[1]
        h = np.where(factor > 0, MANTISSA_BITS - exponent, 0)
        mantissa = np.floor(np.ldexp(factor, h) + 0.5)
        h = h - (mantissa >= 2**MANTISSA_BITS)
        mantissa = np.floor(np.ldexp(factor, h) + 0.5)
        offset = np.floor(beta / target.scale * 2**OFFSET_BITS + 0.5)
        if np.abs(h).max() > 40 or np.abs(offset).max() >= 2**31 or target.bits > 8:
            raise ValueError(
                "LayerNorm whose gamma or beta is out of range for its output scale:"
                " use quantize.layer_norm=reciprocal"
            )
        tensors = {
            "mantissa": (np.sign(gamma) * mantissa).astype(np.int64),
            "exponent": h.astype(np.int64),
            "offset": offset.astype(np.int64),
        }
        return Constants(
            {"epsilon": integer_epsilon(epsilon, channels, source)},
            {role: torch.from_numpy(value) for role, value in tensors.items()},
        )

    def integer(self, codes: Tensor, source: Format, target: Format, c: Constants) -> Tensor:
        """Return the codes; everything is int64, the widths are in numerics/README.md."""
        x = source.integers(codes.double()).to(torch.int64)
        g, h, b = (c.tensors[k].to(x.device) for k in ("mantissa", "exponent", "offset"))
        total = x.sum(dim=-1, keepdim=True)
        rho, half = _reciprocal_root(x, total, c.attributes["epsilon"])
        product = g.abs() * rho
        n = (69 + h - half - bit_length(product)).clamp(0, MAX_SHIFT)
        n = torch.where(g == 0, 0, n)
        drop = (37 + h - half - n).clamp(0, 62)
        a = (product >> drop).clamp(max=MULTIPLIER_LIMIT)
        divisor = x.shape[-1] << (FRACTION_BITS - OFFSET_BITS)
        mean = torch.div(g.sign() * a * total, divisor, rounding_mode="floor")
        bias = ((b << n) - mean + 2 ** (OFFSET_BITS - 1)) >> OFFSET_BITS
        y = (g.sign() * (a >> FRACTION_BITS) * x + bias + ((1 << n) >> 1)) >> n
        return (y + target.zero_point).clamp(target.low, target.high).float()

    def constant_bits(self, channels: int) -> int:
        """Return the bits of the mantissas with their signs, the exponents and b."""
        return channels * (17 + 7 + 32)


def _reciprocal_root(x: Tensor, total: Tensor, epsilon: int) -> tuple[Tensor, Tensor]:
    """Return (rho, t / 2) of each row."""
    squares = (x * x).sum(dim=-1, keepdim=True)
    variance = x.shape[-1] * squares - total * total + epsilon
    half = (ROOT_BITS - bit_length(variance)) >> 1
    root = integer_sqrt(variance << (2 * half))
    one = torch.full_like(root, 2 ** (ROOT_BITS - 1))
    return torch.div(one, root, rounding_mode="floor") + 1, half
