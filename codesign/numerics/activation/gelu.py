"""GELU, exact and in its tanh form, as tables."""

import torch.nn.functional as F
from torch import Tensor

from codesign.numerics.activation.base import TableActivation, activation


@activation("gelu")
class GELU(TableActivation):
    """x * Phi(x), Phi the standard normal distribution function."""

    def float(self, x: Tensor) -> Tensor:
        """Return x * Phi(x)."""
        return F.gelu(x)


@activation("gelu_tanh")
class TanhGELU(TableActivation):
    """GELU with Phi approximated by a tanh."""

    def float(self, x: Tensor) -> Tensor:
        """Return the tanh form of GELU."""
        return F.gelu(x, approximate="tanh")
