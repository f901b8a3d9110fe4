"""SiLU (Swish), x * sigmoid(x), as a table."""

import torch.nn.functional as F
from torch import Tensor

from codesign.numerics.activation.base import TableActivation, activation


@activation("silu")
class SiLU(TableActivation):
    """x * sigmoid(x)."""

    def float(self, x: Tensor) -> Tensor:
        """Return x * sigmoid(x)."""
        return F.silu(x)
