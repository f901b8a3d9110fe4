"""What a softmax is: exponentials of distances to the row's maximum, then quotients."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from codesign.errors import UserError
from codesign.numerics.constants import Constants
from codesign.numerics.fixed_point import Format
from codesign.numerics.straight_through import Bounded, read
from codesign.registry import Registry

EXP_ONE = 2**15 - 1
MAX_ROW = 2**16


class Softmax(ABC):
    """Probabilities of rows of codes, over the last dimension.

    Every kind takes d = max(q) - q, an exponential e[d] that depends on d alone, the sum S of
    the row's, and a code for e / S.

    Attributes:
        name: Public name.
        operation: Operation of the integer graph.
        hardware_function: Name by which the cost models price it.
        widths: Widths of a probability's code that make sense, in bits.
    """

    name: str
    operation: str
    hardware_function: str
    widths: range = range(2, 9)

    def check(self, bits: int) -> None:
        """Check a width of code.

        Raises:
            UserError: The kind has no codes of that width.
        """
        if bits not in self.widths:
            low, high = self.widths[0], self.widths[-1]
            raise UserError(
                f"quantize.softmax={self.name} has codes of {low} to {high} bits:"
                f" set quantize.attention_bits to one of these, not {bits}."
            )

    @abstractmethod
    def format(self, bits: int, probabilities: Tensor) -> Format:
        """Return the format of the result.

        Args:
            bits: Width of a code.
            probabilities: Real probabilities that were observed, any shape.
        """

    @abstractmethod
    def constants(self, source: Format, target: Format) -> Constants:
        """Return the integers of the operation; the attribute "row_limit" is `row_limit`'s."""

    @abstractmethod
    def exponentials(self, bits: int, c: Constants) -> Tensor:
        """Return e of every distance from 0 to 2**bits - 1, int64, 1 or more at 0."""

    @abstractmethod
    def quotients(self, e: Tensor, total: Tensor, target: Format, c: Constants) -> Tensor:
        """Return the codes of e / total.

        Args:
            e: (..., n) exponentials, float64 whole numbers.
            total: (..., 1) their sum, float64.
            target: Format of the result.
            c: The constants, tensors on e's device.
        """

    def longest_row(self, c: Constants) -> int:
        """Return the most elements of a row for which the stated widths hold."""
        return MAX_ROW

    def log2_width(self, bits: int) -> int | None:
        """Return the width of the log2 weights (sign, exponent) that the codes are, if they are."""
        return None

    @abstractmethod
    def constant_bits(self, input_bits: int, bits: int) -> int:
        """Return the bits of constants that hardware stores."""

    def integer(self, codes: Tensor, source: Format, target: Format, c: Constants) -> Tensor:
        """Return the probability codes (float32) of rows of codes (any type)."""
        return self.codes(codes, self.exponentials(source.bits, c), target, c)

    def codes(self, codes: Tensor, exponentials: Tensor, target: Format, c: Constants) -> Tensor:
        """Return `integer`'s result from exponentials that were computed before."""
        distance = codes.amax(dim=-1, keepdim=True) - codes
        e = read(exponentials.to(codes.device, torch.float64), distance.to(torch.int32))
        return self.quotients(e, e.sum(dim=-1, keepdim=True), target, c).float()

    def twin(self, x: Tensor, source: Format, target: Format) -> Tensor:
        """Return the integer form's values exactly, with the gradient of softmax.

        Args:
            x: (..., n) scores, values of `source`'s codes.
            source: Format of the scores.
            target: Format of the result.
        """
        with torch.no_grad():
            codes = self.integer(source.quantize(x), source, target, on(self, source, target, x))
            values = target.dequantize(codes).to(x.dtype)
        return Bounded.apply(torch.softmax(x, dim=-1), values, -1.0, 2.0)


def on(kind: Softmax, source: Format, target: Format, like: Tensor) -> Constants:
    """Return a kind's constants with tensors on the device of another."""
    c = kind.constants(source, target)
    return Constants(c.attributes, {role: t.to(like.device) for role, t in c.tensors.items()})


SOFTMAXES: Registry[Softmax] = Registry("softmax (quantize.softmax)")


def softmax_kind(name: str) -> Callable[[type[Softmax]], type[Softmax]]:
    """Return a class decorator that registers one instance of a softmax under `name`."""

    def decorate(cls: type[Softmax]) -> type[Softmax]:
        cls.name = name
        SOFTMAXES.register(name)(cls())
        return cls

    return decorate


def exponential_table(source: Format) -> Tensor:
    """Return round((2**15 - 1) * exp(-scale * d)) for d from 0 to 2**bits - 1, int64."""
    distance = torch.arange(2**source.bits, dtype=torch.float64)
    return torch.floor(EXP_ONE * torch.exp(-source.scale * distance) + 0.5).to(torch.int64)


def spread(scale: float) -> tuple[int, float]:
    """Return (left shift of a distance, scale behind it) for exponentials without a table.

    Exponentials made of whole numbers need several codes to 1.0: above a scale of 1/8 distances
    get lower bits. Below 2**-14 a row spans less than 1/64, and the scale is taken as 2**-14.
    """
    shift = 0
    while scale > 0.125:
        shift, scale = shift + 1, scale / 2
    return shift, max(scale, 2.0**-14)


def sample(values: Tensor) -> Tensor:
    """Return about 65,536 values, evenly spread over a tensor, and its largest, float64."""
    flat = values.detach().reshape(-1)
    few = flat[:: (flat.numel() // 2**16) | 1]
    return torch.cat([few, flat.max().reshape(1)]).double()


def as_attributes(**values: Any) -> dict[str, int]:
    """Return attributes as plain ints."""
    return {key: int(value) for key, value in values.items()}
