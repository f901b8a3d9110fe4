"""What an activation function is: its float form, its integer form, and its twin."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from codesign.errors import UserError
from codesign.numerics.fixed_point import Format
from codesign.registry import Registry


class Activation(ABC):
    """An element-wise function from codes of one format to codes of another.

    Attributes:
        name: Public name.
        operation: Operation of the integer graph that computes it: "lookup" (a table of
            2**bits entries) or an arithmetic one.
        hardware_function: Name by which the cost models price it.
        clips: The function only clips at zero, so the layer before it computes it for free by
            rounding straight to the function's own output format.
        input_bits: Widest codes it reads. Arithmetic may take more than 8 bits where its result
            is not stored as it is but divided by channel.
    """

    name: str
    operation: str = "lookup"
    hardware_function: str = "table"
    clips: bool = False
    input_bits: int = 8

    @abstractmethod
    def float(self, x: Tensor) -> Tensor:
        """Return the function's real values."""

    @abstractmethod
    def constants(self, source: Format, target: Format) -> dict[str, int]:
        """Return the integers the arithmetic form needs; empty for a table."""

    @abstractmethod
    def integer(
        self, codes: Tensor, source: Format, target: Format, c: Mapping[str, int]
    ) -> Tensor:
        """Return the target codes (int64) of source codes (int64), `c` being the constants."""

    def table(self, source: Format, target: Format) -> Tensor:
        """Return the target code of every source code, from the smallest on, int64."""
        codes = torch.arange(source.low, source.high + 1)
        return self.integer(codes, source, target, self.constants(source, target))

    def twin(self, x: Tensor, source: Format, target: Format) -> Tensor:
        """Return the differentiable form of quantise, apply, quantise.

        Its values differ from the integer form by at most one code of the target.
        """
        return target.fake_quantize(self.float(source.fake_quantize(x)))

    def describe(self) -> dict[str, Any]:
        """Return what a report says of the function."""
        return {"name": self.name, "operation": self.operation}


class TableActivation(Activation):
    """A function with no cheap arithmetic: the table holds its rounded values."""

    def constants(self, source: Format, target: Format) -> dict[str, int]:
        """Return no constants: the table says all."""
        return {}

    def integer(
        self, codes: Tensor, source: Format, target: Format, c: Mapping[str, int]
    ) -> Tensor:
        """Return the codes nearest to the function's values (ties up)."""
        values = self.float(source.dequantize(codes))
        return target.quantize(values).to(torch.int64)


class ActivationRegistry(Registry[Activation]):
    """Activation functions by name; with numbers behind it, a name stands for one of a family.

    "leaky_relu(0.2)" is the leaky ReLU with slope 0.2 for negative numbers. Elementary functions of
    captured networks ("exp", "clamp(0,1)") are found too, but are no choices of their own.
    """

    def __init__(self) -> None:
        super().__init__("activation function")
        self._families: dict[str, Callable[..., Activation]] = {}
        self._made: set[str] = set()

    def family(self, name: str) -> Callable[[Callable[..., Activation]], Callable[..., Activation]]:
        """Return a decorator that files what makes a function from the numbers behind a name."""

        def decorate(make: Callable[..., Activation]) -> Callable[..., Activation]:
            self._families[name] = make
            return make

        return decorate

    def get(self, name: str) -> Activation:
        """Return the function called `name`, made now if it is one of a family.

        Raises:
            UserError: There is none, or the numbers do not fit.
        """
        base, _, numbers = name.rstrip(")").partition("(")
        if name in self._entries or base not in self._families:
            return super().get(name)
        try:
            made = self._families[base](*(float(n) for n in numbers.split(",") if n))
        except (TypeError, ValueError) as error:
            raise UserError(f"activation function '{name}': {error}") from error
        made.name = name
        self._entries[name] = made
        self._made.add(name)
        return made

    def names(self) -> list[str]:
        """Return the names of the functions a design may choose, sorted."""
        return [name for name in super().names() if name not in self._made]


ACTIVATIONS = ActivationRegistry()


def activation(name: str) -> Any:
    """Return a class decorator that registers one instance of an activation under `name`."""

    def decorate(cls: type[Activation]) -> type[Activation]:
        cls.name = name
        ACTIVATIONS.register(name)(cls())
        return cls

    return decorate
