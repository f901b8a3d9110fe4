"""Activation functions, each with its integer arithmetic. One file a function."""

import importlib
import pkgutil

from codesign.numerics.activation.base import ACTIVATIONS, Activation, TableActivation

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["ACTIVATIONS", "Activation", "TableActivation"]
