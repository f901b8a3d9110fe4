"""How each integer operation is written in ONNX. One file a kind."""

import importlib
import pkgutil

from codesign.export.onnx_integer.operations.base import CONVERT

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["CONVERT"]
