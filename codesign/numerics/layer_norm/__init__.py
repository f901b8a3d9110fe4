"""LayerNorm, each kind with its integer arithmetic. One file a kind."""

import importlib
import pkgutil

from codesign.numerics.integer_functions import integer_sqrt
from codesign.numerics.layer_norm.base import LAYER_NORMS, LayerNorm

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["LAYER_NORMS", "LayerNorm", "integer_sqrt"]
