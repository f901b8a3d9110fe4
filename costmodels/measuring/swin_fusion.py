"""Finds the Swin blocks of a timm model and replaces them by those of few kernels."""

from typing import Any

import torch
from torch import nn

from costmodels.measuring.int8_kernels import Kernels
from costmodels.measuring.modules import children, is_mlp, note_largest
from costmodels.measuring.swin import PARTS, Int8Merging, Int8SwinBlock, RowNorm

_MOST_TOKENS = 64  # of a window, whose scores one program holds
_MOST_HEAD = 128
_MOST_COLUMNS = 4096  # of a row, which one program normalises
_LAYERS = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
_WATCHED = (*_LAYERS, "mlp.act")


def watch_parts(model: nn.Module, largest: dict[str, float]) -> list[Any]:
    """Return hooks that note the largest query, key and value of each window attention.

    Args:
        model: The model that calibration images run through.
        largest: Gets the magnitudes, under "<path of the layer qkv>.query", ".key" and ".value".
    """
    hooks = []
    for path, module in model.named_modules():
        qkv = getattr(module, "qkv", None)
        if hasattr(module, "relative_position_bias_table") and isinstance(qkv, nn.Linear):
            hooks.append(qkv.register_forward_hook(_PartsWatch(f"{path}.qkv", largest)))
    return hooks


def fuse_blocks(model: nn.Module, largest: dict[str, float], kernels: Kernels) -> int:
    """Replace Swin blocks, patch mergings and the norms between them; return how many layers.

    Blocks with windows of more than 64 tokens or that do not divide the image stay, and a model
    without a block that can be replaced stays whole.

    Args:
        model: A model in evaluation mode.
        largest: Largest magnitudes on calibration images: entering layers and activations, and
            those of `watch_parts`, by name.
        kernels: The kernels to compute with.
    """
    count = 0
    for path, parent, name, child in list(children(model)):
        if _is_block(child) and all(f"{path}.{layer}" in largest for layer in _WATCHED):
            setattr(parent, name, Int8SwinBlock(child, path, largest, kernels))
            count += len(_LAYERS)
    if not count:
        return 0
    for path, parent, name, child in list(children(model)):
        if _is_merging(child) and f"{path}.reduction" in largest:
            setattr(parent, name, Int8Merging(child, largest[f"{path}.reduction"], kernels))
            count += 1
    for _, parent, name, child in list(children(model)):
        if _is_row_norm(child):
            setattr(parent, name, RowNorm(child, kernels))  # type: ignore[arg-type]
    return count


class _PartsWatch:
    def __init__(self, path: str, largest: dict[str, float]) -> None:
        self.path, self.largest = path, largest

    def __call__(self, module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        for part, values in zip(PARTS, output.chunk(3, dim=-1), strict=True):
            note_largest(self.largest, f"{self.path}.{part}", values)


def _is_block(module: Any) -> bool:
    """Whether it is a Swin block of the first version, of a fixed size that windows divide."""
    names = ("norm1", "attn", "norm2", "mlp", "window_size", "shift_size", "input_resolution")
    if not all(hasattr(module, name) for name in names):
        return False
    attention = module.attn
    layers = [getattr(attention, name, None) for name in ("qkv", "proj")]
    if not (
        all(isinstance(layer, nn.Linear) for layer in layers)
        and hasattr(attention, "relative_position_bias_table")
        and _is_row_norm(module.norm1)
        and _is_row_norm(module.norm2)
        and is_mlp(module.mlp)
    ):
        return False
    head = attention.qkv.out_features // 3 // attention.num_heads
    whole = not any(
        size % part for size, part in zip(module.input_resolution, module.window_size, strict=True)
    )
    small = module.window_area <= _MOST_TOKENS and head <= _MOST_HEAD
    return whole and small and not getattr(module, "dynamic_mask", False)


def _is_merging(module: Any) -> bool:
    """Whether it normalises four neighbours and reduces them, as Swin's first version does."""
    norm, reduction = getattr(module, "norm", None), getattr(module, "reduction", None)
    if not (isinstance(reduction, nn.Linear) and norm is not None and _is_row_norm(norm)):
        return False
    wide = 4 * getattr(module, "dim", 0)
    return tuple(norm.normalized_shape) == (wide,) and reduction.in_features == wide


def _is_row_norm(module: Any) -> bool:
    """Whether it is a LayerNorm of the last dimension; LayerNorm2d and its like are others."""
    if not isinstance(module, nn.LayerNorm) or type(module).__name__ != "LayerNorm":
        return False
    whole = module.weight is not None and module.bias is not None
    return whole and len(module.normalized_shape) == 1 and module.weight.numel() <= _MOST_COLUMNS
