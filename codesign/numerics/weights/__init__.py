"""Weight number formats. One file a scheme."""

from codesign.numerics.weights.base import SCHEMES, WeightScheme
from codesign.numerics.weights import log2, uniform  # isort: skip

__all__ = ["SCHEMES", "WeightScheme", "log2", "uniform"]
