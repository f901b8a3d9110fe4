"""Elementary functions that captured networks use outside of activation layers, as tables.

No design chooses among them. Where a function has no value (the root of a negative number, one over
zero) the value at the nearest place that has one is taken: such codes come from rounding.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from codesign.numerics.activation.base import ACTIVATIONS, Activation, TableActivation

SMALLEST = 1e-6
"""Where roots and logarithms start, and how near to zero a reciprocal comes."""


class Elementary(TableActivation):
    """A function of one element.

    Args:
        function: The function of a tensor.
    """

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function = function

    def float(self, x: Tensor) -> Tensor:
        """Return the function's values."""
        return self.function(x)


def _away_from_zero(x: Tensor) -> Tensor:
    return torch.where(x < 0, x.clamp(max=-SMALLEST), x.clamp(min=SMALLEST))


_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "exp": torch.exp,
    "expm1": torch.expm1,
    "log": lambda x: torch.log(x.clamp(min=SMALLEST)),
    "log1p": lambda x: torch.log1p(x.clamp(min=SMALLEST - 1)),
    "erf": torch.erf,
    "sin": torch.sin,
    "cos": torch.cos,
    "abs": torch.abs,
    "square": torch.square,
    "sqrt": lambda x: torch.sqrt(x.clamp(min=0)),
    "rsqrt": lambda x: torch.rsqrt(x.clamp(min=SMALLEST)),
    "reciprocal": lambda x: 1 / _away_from_zero(x),
}

for _name, _function in _FUNCTIONS.items():
    ACTIVATIONS.family(_name)(lambda function=_function: Elementary(function))


@ACTIVATIONS.family("clamp")
def clamp(low: float, high: float) -> Activation:
    """Return the function that limits a number to [low, high]."""
    return Elementary(lambda x: x.clamp(low, high))


@ACTIVATIONS.family("power")
def power(exponent: float) -> Activation:
    """Return the power of a number; of negative ones only where the exponent is whole."""
    whole = exponent == int(exponent)
    return Elementary(lambda x: (x if whole else x.clamp(min=SMALLEST)).pow(exponent))
