"""Saturating functions, as tables."""

import torch
import torch.nn.functional as F
from torch import Tensor

from codesign.numerics.activation.base import TableActivation, activation


@activation("sigmoid")
class Sigmoid(TableActivation):
    """1 / (1 + exp(-x))."""

    def float(self, x: Tensor) -> Tensor:
        """Return the logistic function."""
        return torch.sigmoid(x)


@activation("hardsigmoid")
class HardSigmoid(TableActivation):
    """clip(x / 6 + 1/2, 0, 1)."""

    def float(self, x: Tensor) -> Tensor:
        """Return the piecewise linear sigmoid."""
        return F.hardsigmoid(x)


@activation("tanh")
class Tanh(TableActivation):
    """The hyperbolic tangent."""

    def float(self, x: Tensor) -> Tensor:
        """Return tanh(x)."""
        return torch.tanh(x)


@activation("relu6")
class ReLU6(TableActivation):
    """min(max(x, 0), 6)."""

    def float(self, x: Tensor) -> Tensor:
        """Return x clipped to [0, 6]."""
        return F.relu6(x)
