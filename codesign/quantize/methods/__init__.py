"""The methods a user can name. One file a method; each is a Recipe."""

import importlib
import pkgutil

from codesign.quantize.recipe import METHODS, Recipe

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["METHODS", "Recipe"]
