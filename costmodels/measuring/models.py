"""timm models to time: built with random weights, traced, run at a precision and batch."""

import difflib
from typing import Any

import torch

from costmodels.errors import CostModelError
from costmodels.measuring.microkernels import TYPES


def create_model(name: str, seed: int = 0) -> tuple[torch.nn.Module, int]:
    """Return a timm model in evaluation mode with random weights, and its image size in pixels.

    Raises:
        CostModelError: timm is missing or has no such model.
    """
    try:
        import timm
    except (ImportError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise CostModelError(f"timm cannot be imported ({reason}): pip install timm") from None
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        raise CostModelError(f"model: timm has no '{name}'.{hint}")
    torch.manual_seed(seed)
    model = timm.create_model(name, pretrained=False).eval()
    return model, image_size(model)


def image_size(model: torch.nn.Module) -> int:
    """Return the height and width in pixels of the images a timm model is made for."""
    configuration: Any = getattr(model, "pretrained_cfg", {})
    return int(configuration.get("input_size", (3, 224, 224))[-1])


def images(batch: int, size: int, precision: str, device: torch.device) -> torch.Tensor:
    """Return random images of shape (batch, 3, size, size).

    Raises:
        CostModelError: The batch is not positive.
    """
    if batch < 1:
        raise CostModelError(f"batches must be at least 1, not {batch}")
    kind = TYPES["fp32"] if precision == "int8" else TYPES[precision]
    return torch.randn(batch, 3, size, size, device=device).to(kind)
