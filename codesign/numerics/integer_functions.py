"""Whole-number functions that several operations share."""

import torch
from torch import Tensor


def integer_sqrt(x: Tensor) -> Tensor:
    """Return floor(sqrt(x)) of int64 from 0 to 2**62, exactly.

    The float64 root is off by less than one, and one comparison each way mends it.
    """
    root = torch.sqrt(x.double()).floor().to(torch.int64)
    root = root - (root * root > x).to(torch.int64)
    return root + ((root + 1) * (root + 1) <= x).to(torch.int64)


def bit_length(x: Tensor) -> Tensor:
    """Return the bits that whole numbers from 0 to 2**53 - 1 take, int64; 0 takes none."""
    return torch.frexp(x.double())[1].to(torch.int64)


def round_log2(x: Tensor) -> Tensor:
    """Return the exponent of a power of two near whole numbers from 1 to 2**53 - 1, int64.

    With the leading one at bit i, that is i + (bit i - 1): rounded up from 1.5 * 2**i on.
    """
    mantissa, exponent = torch.frexp(x.double())
    return exponent.to(torch.int64) - 1 + (mantissa >= 0.75).to(torch.int64)
