"""Leaky ReLU, as a table."""

import torch.nn.functional as F
from torch import Tensor

from codesign.numerics.activation.base import ACTIVATIONS, TableActivation, activation


@ACTIVATIONS.family("leaky_relu")
@activation("leaky_relu")
class LeakyReLU(TableActivation):
    """x for positive numbers, a fraction of it for negative ones.

    Args:
        slope: The fraction.
    """

    def __init__(self, slope: float = 0.01) -> None:
        self.slope = slope

    def float(self, x: Tensor) -> Tensor:
        """Return x or slope * x."""
        return F.leaky_relu(x, self.slope)
