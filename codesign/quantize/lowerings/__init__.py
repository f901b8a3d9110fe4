"""How each operation of a calibrated network becomes integer nodes. One file a kind."""

import importlib
import pkgutil

from codesign.quantize.lowerings.base import Lowering

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["Lowering"]
