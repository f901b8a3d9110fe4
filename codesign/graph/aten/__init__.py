"""ATen operations as torch.export gives them, turned into ours. One file a topic."""

import importlib
import pkgutil

from codesign.graph.aten.base import Constant, convert

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["Constant", "convert"]
