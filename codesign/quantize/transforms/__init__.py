"""Rewrites before calibration that keep the float function. One file a transform."""

import importlib
import pkgutil

from codesign.quantize.transforms.base import TRANSFORMS, Transform

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["TRANSFORMS", "Transform"]
