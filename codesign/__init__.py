"""Hardware-software co-design search for quantised vision models.

Importing this package is cheap: torch, timm, Optuna and Ray are imported by the modules that
use them.
"""

from typing import TYPE_CHECKING, Any

from codesign.design import ActivationSite, Design, LayerFormat, LayerInfo, NetworkOutline
from codesign.errors import UserError

if TYPE_CHECKING:
    from codesign.evaluate.bundle import from_bundle

__all__ = [
    "ActivationSite",
    "Design",
    "LayerFormat",
    "LayerInfo",
    "NetworkOutline",
    "UserError",
    "from_bundle",
]


def __getattr__(name: str) -> Any:
    """Import what needs torch when it is first asked for."""
    if name == "from_bundle":
        from codesign.evaluate.bundle import from_bundle

        return from_bundle
    raise AttributeError(f"module 'codesign' has no attribute '{name}'")
