"""What a LayerNorm is, and the registry of its kinds."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from codesign.numerics.constants import Constants
from codesign.numerics.fixed_point import Format
from codesign.numerics.straight_through import Bounded
from codesign.registry import Registry

MAX_CHANNELS = 4096
MAX_MAGNITUDE = 255 << 3
"""Largest centred input: 8-bit codes with channel shifts of up to 3."""
MAX_EPSILON = 2**38
Values = NDArray[np.float64]


class LayerNorm(ABC):
    """Rows over the last dimension, normalised, scaled and moved by channel.

    Attributes:
        name: Public name.
        operation: Operation of the integer graph.
        hardware_function: Name by which the cost models price it.
    """

    name: str
    operation: str
    hardware_function: str

    @abstractmethod
    def constants(
        self, gamma: Values, beta: Values, epsilon: float, source: Format, target: Format
    ) -> Constants:
        """Return the integers of the operation.

        Args:
            gamma: (channels,) factors.
            beta: (channels,) offsets.
            epsilon: Added to the variance.
            source: Format of the codes; channels may have shifts.
            target: Format of the result.

        Raises:
            ValueError: The widths do not hold for these channels, codes or scales.
        """

    @abstractmethod
    def integer(self, codes: Tensor, source: Format, target: Format, c: Constants) -> Tensor:
        """Return the codes (float32) of rows of codes (any float type)."""

    @abstractmethod
    def constant_bits(self, channels: int) -> int:
        """Return the bits of constants that hardware stores."""

    def twin(
        self,
        x: Tensor,
        gamma: Tensor | None,
        beta: Tensor | None,
        epsilon: float,
        source: Format,
        target: Format,
    ) -> Tensor:
        """Return the integer form's values exactly, with the gradient of LayerNorm.

        Args:
            x: (..., channels) values of `source`'s codes.
            gamma: (channels,) or None for ones.
            beta: (channels,) or None for zeros.
            epsilon: Added to the variance.
            source: Format of x.
            target: Format of the result.
        """
        result = F.layer_norm(x, (x.shape[-1],), gamma, beta, epsilon)
        with torch.no_grad():
            factors = parameters(gamma, beta, x.shape[-1], target)
            c = self.constants(*factors, epsilon, source, target)
            codes = self.integer(source.quantize(x), source, target, c)
            values = target.dequantize(codes).to(x.dtype)
        ends = (x.new_full(x.shape[-1:], float(end)) for end in (target.low, target.high))
        low, high = (target.dequantize(end).to(x.dtype) for end in ends)
        return Bounded.apply(result, values, low, high)


def parameters(
    gamma: Tensor | None, beta: Tensor | None, channels: int, target: Format
) -> tuple[Values, Values]:
    """Return gamma and beta as float64, in steps of the result's channels where those differ."""
    steps = np.exp2(np.array(target.shifts or (0,), dtype=np.float64))
    return to_numpy(gamma, channels, 1.0) / steps, to_numpy(beta, channels, 0.0) / steps


def to_numpy(value: Tensor | None, channels: int, default: float) -> Values:
    """Return a parameter by channel as float64, the default where there is none."""
    if value is None:
        return np.full(channels, default)
    return value.detach().cpu().double().numpy()


def check_source(channels: int, source: Format) -> None:
    """Check the rows for which the widths are stated.

    Raises:
        ValueError: More than 4096 channels, or codes beyond 8 bits and a shift of 3.
    """
    if channels > MAX_CHANNELS or source.magnitude > MAX_MAGNITUDE:
        raise ValueError(
            f"LayerNorm of {channels} channels of {source.bits}-bit codes up to {source.magnitude}"
        )


def integer_epsilon(epsilon: float, channels: int, source: Format) -> int:
    """Return E = max(1, round(epsilon * channels**2 / scale**2)), at most 2**38."""
    return max(1, min(round(epsilon * channels**2 / source.scale**2), MAX_EPSILON))


LAYER_NORMS: Registry[LayerNorm] = Registry("LayerNorm (quantize.layer_norm)")


def layer_norm_kind(name: str) -> Callable[[type[LayerNorm]], type[LayerNorm]]:
    """Return a class decorator that registers one instance of a LayerNorm under `name`."""

    def decorate(cls: type[LayerNorm]) -> type[LayerNorm]:
        cls.name = name
        LAYER_NORMS.register(name)(cls())
        return cls

    return decorate
