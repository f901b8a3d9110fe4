"""Mish, as a table."""

import torch.nn.functional as F
from torch import Tensor

from codesign.numerics.activation.base import TableActivation, activation


@activation("mish")
class Mish(TableActivation):
    """x * tanh(log(1 + exp(x))) (Misra, BMVC 2020)."""

    def float(self, x: Tensor) -> Tensor:
        """Return x * tanh(softplus(x))."""
        return F.mish(x)
