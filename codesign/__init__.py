"""Hardware-software co-design search for quantised vision models.

Importing this package is cheap: torch, timm, Optuna and Ray are imported by the modules that
use them.
"""

from codesign.design import ActivationSite, Design, LayerFormat, LayerInfo, NetworkOutline
from codesign.errors import UserError

__all__ = [
    "ActivationSite",
    "Design",
    "LayerFormat",
    "LayerInfo",
    "NetworkOutline",
    "UserError",
]
