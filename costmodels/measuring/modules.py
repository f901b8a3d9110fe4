"""Walks through a model's modules and tells what they are."""

from collections.abc import Iterator

import torch
from torch import nn


def children(model: nn.Module) -> Iterator[tuple[str, nn.Module, str, nn.Module]]:
    """Yield every module but the model: its path, its parent, its name there, itself."""
    for prefix, parent in model.named_modules():
        for name, child in parent.named_children():
            yield (f"{prefix}.{name}" if prefix else name), parent, name, child


def note_largest(largest: dict[str, float], name: str, values: torch.Tensor) -> None:
    """Note the largest magnitude so far under a name; one that is no number is kept."""
    found, before = float(values.abs().amax()), largest.get(name, 0.0)
    largest[name] = found if found != found else max(found, before)


def is_mlp(module: nn.Module) -> bool:
    """Whether it is linear, activation, linear under timm's names and nothing between them."""
    kinds = (("fc1", nn.Linear), ("fc2", nn.Linear), ("act", nn.Module))
    present = all(isinstance(getattr(module, name, None), kind) for name, kind in kinds)
    norm = getattr(module, "norm", None)
    return present and (norm is None or isinstance(norm, nn.Identity))
