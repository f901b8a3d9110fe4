"""Division of two activations, each kind with its integer arithmetic. One file a kind."""

import importlib
import pkgutil

from codesign.numerics.division.base import DIVISIONS, Division

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["DIVISIONS", "Division"]
