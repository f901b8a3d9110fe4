"""What a division of two activations is, and the registry of its kinds."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from codesign.numerics.constants import Constants
from codesign.numerics.fixed_point import MULTIPLIER_BITS, Format
from codesign.numerics.straight_through import Bounded
from codesign.registry import Registry

LARGEST_SHIFT = 30
LARGEST_EPSILON = 2**15


class Division(ABC):
    """numerator / (denominator + epsilon), element by element or broadcast.

    Attributes:
        name: Public name.
        operation: Operation of the integer graph.
        hardware_function: Name by which the cost models price it.
        operand_bits: Width to which both operands are narrowed in front of the division, or 0
            where they are read at 16 bits.
    """

    name: str
    operation: str
    hardware_function: str
    operand_bits: int

    def constants(
        self, epsilon: float, numerator: Format, denominator: Format, target: Format
    ) -> Constants:
        """Return the ratio of the scales and epsilon in steps of the denominator.

        Raises:
            ValueError: The ratio or epsilon is too large.
        """
        ratio = numerator.scale / denominator.scale / target.scale
        shift = min(max(MULTIPLIER_BITS - math.frexp(ratio)[1], 1), LARGEST_SHIFT)
        multiplier = math.floor(math.ldexp(ratio, shift) + 0.5)
        added = math.floor(epsilon / denominator.scale + 0.5)
        if multiplier >= 2**31 or added > LARGEST_EPSILON:
            raise ValueError(f"division with a ratio of {ratio:.3g} codes, epsilon {added} codes")
        return Constants({"multiplier": multiplier, "shift": shift, "epsilon": added})

    def check(self, denominator: Format) -> None:  # noqa: B027
        """Check the format of the denominator.

        Raises:
            UserError: The kind cannot divide by such codes.
        """

    @abstractmethod
    def quotients(
        self, numerator: Tensor, denominator: Tensor, target: Format, c: Constants
    ) -> Tensor:
        """Return the target's codes (float64) of whole numbers in float64."""

    def integer(
        self,
        numerator: Tensor,
        denominator: Tensor,
        formats: tuple[Format, Format],
        target: Format,
        c: Constants,
    ) -> Tensor:
        """Return the codes (float32) of two tensors of codes (any float type)."""
        n = formats[0].integers(numerator.double())
        d = formats[1].integers(denominator.double()) + c.attributes["epsilon"]
        return self.quotients(n, d, target, c).float()

    def real(self, numerator: Tensor, denominator: Tensor, epsilon: float, step: float) -> Tensor:
        """Return the real quotients, a denominator below half a step taken as a step.

        Args:
            numerator: Real values.
            denominator: Real values, broadcast.
            epsilon: Added to the denominator.
            step: The denominator's scale.
        """
        divisor = denominator + epsilon
        guarded = torch.where(divisor.abs() < 0.5 * step, torch.full_like(divisor, step), divisor)
        return numerator / guarded

    def twin(
        self,
        numerator: Tensor,
        denominator: Tensor,
        epsilon: float,
        formats: tuple[Format, Format],
        target: Format,
    ) -> Tensor:
        """Return the integer form's values exactly, with the gradient of the division."""
        result = self.real(numerator, denominator, epsilon, formats[1].scale)
        with torch.no_grad():
            c = self.constants(epsilon, *formats, target)
            pair = formats[0].quantize(numerator), formats[1].quantize(denominator)
            codes = self.integer(*pair, formats, target, c)
            values = target.dequantize(codes).to(result.dtype)
        low, high = target.dequantize(torch.tensor([target.low, target.high])).tolist()
        return Bounded.apply(result, values, low, high)


DIVISIONS: Registry[Division] = Registry("division (quantize.division)")


def division_kind(name: str) -> Callable[[type[Division]], type[Division]]:
    """Return a class decorator that registers one instance of a division under `name`."""

    def decorate(cls: type[Division]) -> type[Division]:
        cls.name = name
        DIVISIONS.register(name)(cls())
        return cls

    return decorate
