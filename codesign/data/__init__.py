"""Data sets by name: `load_data` returns three labelled splits in the model's input format."""

import importlib
import pkgutil

from codesign.data.dataset import (
    DATASETS,
    DataSet,
    DataSettings,
    Split,
    load_data,
)

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["DATASETS", "DataSet", "DataSettings", "Split", "load_data"]
