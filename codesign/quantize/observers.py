"""Observers: which range of real values a tensor's codes should span."""

from collections.abc import Callable

import torch
from torch import Tensor

from codesign.numerics.fixed_point import Format
from codesign.registry import Registry

SAMPLE = 16_384
"""Values of a tensor that the searching observers look at."""
SHRINK = torch.linspace(1.0, 0.2, 41)

Observer = Callable[[Tensor, int], Format]
OBSERVERS: Registry[Observer] = Registry("observer")


@OBSERVERS.register("minmax")
def minmax(values: Tensor, bits: int) -> Format:
    """Return the format that spans all values."""
    low, high = torch.aminmax(values)
    return Format.from_range(float(low), float(high), bits)


@OBSERVERS.register("percentile")
def percentile(values: Tensor, bits: int) -> Format:
    """Return the format that spans all but 1e-4 of the sampled values at each end."""
    ends = torch.quantile(sample(values).cpu(), torch.tensor([1e-4, 1 - 1e-4]))
    return Format.from_range(float(ends[0]), float(ends[1]), bits)


@OBSERVERS.register("mse")
def mse(values: Tensor, bits: int) -> Format:
    """Return the shrunk range with the least mean squared error."""
    return least_error(values, bits, 2.0)


@OBSERVERS.register("mse_p")
def mse_p(values: Tensor, bits: int) -> Format:
    """Return the shrunk range with the least mean |error|**2.4, which spares large values more.

    The exponent is that of Trio-ViT's code (Shi et al., arXiv 2405.03882).
    """
    return least_error(values, bits, 2.4)


def least_error(values: Tensor, bits: int, power: float) -> Format:
    """Return the format with the least mean |error|**power among shrunk ranges.

    Tries 41 common factors, 1 to 0.2, of the smallest and the largest value.
    """
    low, high = (min(float(values.min()), 0.0), max(float(values.max()), 0.0))
    x = sample(values)
    span = max(high - low, 1e-8)
    scale = (SHRINK * span / (2**bits - 1)).to(x.device)[:, None]
    zero_point = torch.floor(-SHRINK.to(x.device)[:, None] * low / scale + 0.5)
    codes = torch.clamp(torch.round(x / scale) + zero_point, 0, 2**bits - 1)
    error = ((codes - zero_point) * scale - x).abs().pow(power).mean(dim=1)
    factor = float(SHRINK[int(error.argmin())])
    return Format.from_range(factor * low, factor * high, bits)


def sample(values: Tensor) -> Tensor:
    """Return about 16,384 values, evenly spread over the tensor.

    The stride is odd: an even one would pick the same columns of every image.
    """
    flat = values.detach().reshape(-1)
    return flat[:: (flat.numel() // SAMPLE) | 1].float()
