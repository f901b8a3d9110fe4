"""Softmax, each kind with its integer arithmetic. One file a kind."""

import importlib
import pkgutil

from codesign.numerics.softmax.base import MAX_ROW, SOFTMAXES, Softmax, exponential_table

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["MAX_ROW", "SOFTMAXES", "Softmax", "exponential_table"]
