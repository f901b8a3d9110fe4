"""ShiftGELU: x * sigmoid(1.702 x) with an exponential made of shifts and additions.

Inspired by I-ViT (Li and Gu, ICCV 2023, arXiv 2207.01405, section 3.3). Like our Shift-Swish it
takes exp(-|x|) and the symmetry of the sigmoid in place of the tensor's maximum. 1.702 costs
nothing: the codes that make 1.0 are counted on the scale 1.702 * s.
"""

import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from codesign.numerics.activation.base import activation
from codesign.numerics.activation.shift_swish import ShiftSwish
from codesign.numerics.straight_through import GELUTable


@activation("shift_gelu")
class ShiftGELU(ShiftSwish):
    """Shift-Swish with 1.702 x inside the sigmoid: near GELU."""

    operation = "shift_gelu"
    hardware_function = "shift_gelu"
    slope = 1.702
    look_up: type[Function] = GELUTable

    def float(self, x: Tensor) -> Tensor:
        """Return GELU, the function that ShiftGELU approximates."""
        return F.gelu(x)
