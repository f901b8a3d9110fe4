"""Integer tensors of a graph under construction: a name, a type and proved bounds."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from codesign.integer.model import IntegerNode
from codesign.numerics.fixed_point import Format

Integers = NDArray[np.integer]


@dataclass(frozen=True)
class Value:
    """A tensor of the graph.

    Attributes:
        name: Its ONNX name.
        dtype: NumPy's name of its type.
        low: No element is smaller.
        high: No element is larger.
    """

    name: str
    dtype: str
    low: int
    high: int

    def within(self, low: int, high: int) -> "Value":
        """Return the value with bounds that hold for a reason its caller knows."""
        return replace(self, low=max(low, self.low), high=min(high, self.high))


@dataclass(frozen=True)
class Codes:
    """The codes of a node: the operand of an operation.

    Attributes:
        value: The tensor.
        node: The node of the integer model, for its format and shape.
    """

    value: Value
    node: IntegerNode

    @property
    def format(self) -> Format:
        """How the codes stand for real numbers."""
        return self.node.format

    def length(self, dim: int) -> int:
        """Return the size along a dimension, which must not grow with the batch."""
        return int(self.node.shape[dim])


Operand = Value | Integers | int
"""What arithmetic takes: a value or a constant."""


def bounds(x: Operand) -> tuple[int, int]:
    """Return the smallest and the largest number that a value or a constant may hold."""
    if isinstance(x, Value):
        return x.low, x.high
    return int(np.min(x)), int(np.max(x))


def narrowest(low: int, high: int) -> str:
    """Return the narrowest integer type for numbers from `low` to `high`.

    Raises:
        OverflowError: 64 bits do not hold them.
    """
    kind = "int" if low < 0 else "uint"
    for bits in (8, 16, 32, 64):
        limits = np.iinfo(f"{kind}{bits}")
        if limits.min <= low and high <= limits.max:
            return f"{kind}{bits}"
    raise OverflowError(f"numbers from {low} to {high} need more than 64 bits")


def storage(fmt: Format) -> str:
    """Return the type in which codes pass from node to node."""
    return narrowest(fmt.low, fmt.high)
