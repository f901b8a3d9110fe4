"""timm models with INT8 linear layers and other activations, to time them.

Scales come from the largest magnitudes on calibration images. Convolutions stay
in floating point, and so do attention's products but for those of fused Swin blocks.
"""

import torch
from torch import nn

from costmodels.errors import CostModelError
from costmodels.measuring.int8_kernels import Kernels
from costmodels.measuring.int8_layers import Int8Linear, int8_mlp
from costmodels.measuring.modules import children, is_mlp, note_largest
from costmodels.measuring.swin_fusion import fuse_blocks, watch_parts


class NoInt8LayerError(CostModelError):
    """A model has no layer that runs in INT8."""


_MULTIPLE = 8  # torch._int_mm on CUDA: of depth and columns


def replace_activations(model: nn.Module, function: str) -> int:
    """Make every activation module of a model "gelu" or "relu" in place; return how many.

    Raises:
        CostModelError: The function is another, or the model has no activation modules.
    """
    kinds = {"gelu": nn.GELU, "relu": nn.ReLU}
    if function not in kinds:
        raise CostModelError(f"activations must be gelu or relu, not '{function}'")
    found = 0
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if _is_activation(child):
                setattr(parent, name, kinds[function]())
                found += 1
    if not found:
        raise CostModelError("the model has no activation modules to replace")
    return found


def quantize_linears(
    model: nn.Module, images: torch.Tensor, kernels: Kernels, fused: bool = False
) -> int:
    """Replace linear layers and MLPs by INT8 ones in place; return how many layers.

    Layers whose sizes are no multiples of 8, which torch._int_mm needs on CUDA, stay.

    Args:
        model: A model in evaluation mode.
        images: Calibration images on the model's device.
        kernels: The kernels to compute with.
        fused: Whether Swin blocks become those of few kernels, with INT8 scores.

    Raises:
        NoInt8LayerError: No linear layer can be replaced.
        CostModelError: An activation is not finite.
    """
    largest = _largest_inputs(model, images)
    count = fuse_blocks(model, largest, kernels) if fused else 0
    for path, parent, name, child in list(children(model)):
        if is_mlp(child) and f"{path}.fc1" in largest and f"{path}.fc2" in largest:
            setattr(parent, name, int8_mlp(child, path, largest, kernels))
            count += 2
    for path, parent, name, child in list(children(model)):
        if isinstance(child, nn.Linear) and path in largest:
            setattr(parent, name, Int8Linear(child, largest[path], kernels))
            count += 1
    if not count:
        raise NoInt8LayerError("the model has no linear layer that runs in INT8")
    return count


def carried(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Return the model in `dtype`, but for the scales and biases of its INT8 layers."""
    kept = {
        module: (module.scale, module.bias)
        for module in model.modules()
        if isinstance(module, Int8Linear)
    }
    model = model.to(dtype)
    for module, (scale, bias) in kept.items():
        module.scale, module.bias = scale, bias
    return model


def _largest_inputs(model: nn.Module, images: torch.Tensor) -> dict[str, float]:
    """Return the largest magnitude entering each linear layer and each MLP's activation."""
    largest: dict[str, float] = {}
    hooks = watch_parts(model, largest)
    for path, module in model.named_modules():
        fits = isinstance(module, nn.Linear) and not (
            module.in_features % _MULTIPLE or module.out_features % _MULTIPLE
        )
        if fits or _is_activation(module):
            hooks.append(module.register_forward_pre_hook(_Watch(path, largest)))
    with torch.no_grad():
        model(images)
    for hook in hooks:
        hook.remove()
    wrong = [path for path, value in largest.items() if not value < float("inf")]
    if wrong:
        raise CostModelError(f"the input of '{wrong[0]}' is not finite: check the weights")
    return largest


class _Watch:
    def __init__(self, path: str, largest: dict[str, float]) -> None:
        self.path, self.largest = path, largest

    def __call__(self, module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        note_largest(self.largest, self.path, inputs[0])


def _is_activation(module: nn.Module) -> bool:
    known = (nn.GELU, nn.ReLU, nn.SiLU, nn.ReLU6, nn.Hardswish)
    name = type(module).__name__  # timm's own classes of these functions
    return isinstance(module, known) or name in ("GELU", "GELUTanh", "QuickGELU", "Swish")
