"""How the torch executor evaluates each integer operation. One file a kind."""

import importlib
import pkgutil

from codesign.integer.torch_operations.base import PREPARE, Step

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["PREPARE", "Step"]
