"""ELU, SELU and softplus, as tables."""

import torch.nn.functional as F
from torch import Tensor

from codesign.numerics.activation.base import ACTIVATIONS, TableActivation, activation


@ACTIVATIONS.family("elu")
@activation("elu")
class ELU(TableActivation):
    """x for positive numbers, alpha * (exp(x) - 1) for negative ones.

    Args:
        alpha: The factor.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def float(self, x: Tensor) -> Tensor:
        """Return x or alpha * (exp(x) - 1)."""
        return F.elu(x, self.alpha)


@activation("selu")
class SELU(TableActivation):
    """The self-normalising ELU of Klambauer et al. (NeurIPS 2017)."""

    def float(self, x: Tensor) -> Tensor:
        """Return 1.0507 * ELU(x) with alpha 1.6733."""
        return F.selu(x)


@activation("softplus")
class Softplus(TableActivation):
    """log(1 + exp(x))."""

    def float(self, x: Tensor) -> Tensor:
        """Return log(1 + exp(x))."""
        return F.softplus(x)
