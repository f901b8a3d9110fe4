"""The one place that imports timm, with a guard for CPU-only torch beside a CUDA torchvision."""

import importlib
import sys
from functools import cache
from types import ModuleType

import torch

_NMS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


@cache
def import_timm() -> ModuleType:
    """Import timm and return it; every use of timm goes through here.

    A CPU-only torch wheel beside torchvision's CUDA wheel cannot load torchvision's compiled
    operators, so that torchvision, and with it timm, dies on import with "operator
    torchvision::nms does not exist" (pytorch#122494, vision#9077). Transforms, data sets and
    FrozenBatchNorm2d need none of those operators: two schemas are enough to import them.

    Returns:
        The `timm` module, with `timm.data` and `timm.models` imported.

    Raises:
        ImportError: timm is not installed.
        RuntimeError: torchvision fails for another reason.
    """
    try:
        return _import()
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    for name in [m for m in sys.modules if m.split(".")[0] in ("torchvision", "timm")]:
        del sys.modules[name]
    _declare_operators()
    return _import()


def _import() -> ModuleType:
    importlib.import_module("timm.data")
    importlib.import_module("timm.models")
    return importlib.import_module("timm")


@cache
def _declare_operators() -> torch.library.Library:
    """Declare the two operators that torchvision names on import; the cache keeps them alive."""
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(name + _NMS)
    return library
