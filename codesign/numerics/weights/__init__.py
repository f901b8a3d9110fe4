"""Weight number formats. One file a scheme."""

import importlib
import pkgutil

from codesign.numerics.weights.base import SCHEMES, WeightScheme
from codesign.numerics.weights.formats import parse_format, scheme_of

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["SCHEMES", "WeightScheme", "parse_format", "scheme_of"]
