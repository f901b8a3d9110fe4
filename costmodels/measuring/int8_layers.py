"""INT8 linear layers and MLPs: codes in, codes from layer to layer, fixed scales.

Weights have a scale for each output channel, activations one for each tensor. In an MLP the codes
go from the first layer to the second: a ReLU is a clamp of the first one's output stage, any other
activation a kernel of its own on codes, as in FasterTransformer.
"""

from typing import Any

import torch
from torch import nn

from costmodels.measuring.int8_kernels import Kernels, codes_of
from costmodels.measuring.stages import OutputStage

_LARGEST = 127


class Int8Linear(nn.Module):
    """A linear layer on INT8 codes; `input_scale` is the step of the codes entering."""

    weight: torch.Tensor
    scale: torch.Tensor
    bias: torch.Tensor

    def __init__(self, layer: nn.Linear, largest: float, kernels: Kernels) -> None:
        super().__init__()
        self.kernels = kernels
        self.input_scale = max(largest, 1e-8) / _LARGEST
        weight = layer.weight.detach().float()
        steps = weight.abs().amax(dim=1).clamp_min(1e-8) / _LARGEST
        bias = layer.bias.detach().float() if layer.bias is not None else torch.zeros_like(steps)
        self.register_buffer("weight", codes_of(weight / steps[:, None], 1.0).contiguous())
        self.register_buffer("scale", steps * self.input_scale)
        self.register_buffer("bias", bias)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return the layer's values; input of shape (..., in_features)."""
        rows = values.reshape(-1, values.shape[-1])
        codes = self.kernels.quantize(rows, self.input_scale)
        result = self.on_codes(codes, OutputStage(dtype=values.dtype))
        return result.reshape(*values.shape[:-1], -1)

    def on_codes(self, codes: torch.Tensor, stage: OutputStage) -> torch.Tensor:
        """Return the product of codes of shape (rows, in_features), after its output stage."""
        return self.kernels.linear(codes, self.weight, self.scale, self.bias, stage)


class Int8Mlp(nn.Module):
    """Linear, activation, linear on codes throughout."""

    table: torch.Tensor

    def __init__(
        self, first: Int8Linear, activation: nn.Module, second: Int8Linear, largest: float
    ) -> None:
        super().__init__()
        self.first, self.second = first, second
        self.relu = isinstance(activation, nn.ReLU)
        self.middle_scale = max(largest, 1e-8) / _LARGEST
        values = torch.arange(-128, 128, dtype=torch.float32) * self.middle_scale
        self.register_buffer("table", codes_of(activation(values), 1 / second.input_scale))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return the MLP's values; input of shape (..., in_features)."""
        rows = values.reshape(-1, values.shape[-1])
        codes = self.first.kernels.quantize(rows, self.first.input_scale)
        result = self.on_codes(codes, OutputStage(dtype=values.dtype))
        return result.reshape(*values.shape[:-1], -1)

    def on_codes(self, codes: torch.Tensor, stage: OutputStage) -> torch.Tensor:
        """Return the MLP of codes of shape (rows, in_features), after its last output stage."""
        if self.relu:
            step = self.second.input_scale
            middle = self.first.on_codes(codes, OutputStage(relu=True, output_scale=step))
        else:
            middle = self.first.on_codes(codes, OutputStage(output_scale=self.middle_scale))
            middle = self.first.kernels.look_up(middle, self.table)
        return self.second.on_codes(middle, stage)


def int8_mlp(mlp: Any, path: str, largest: dict[str, float], kernels: Kernels) -> Int8Mlp:
    """Return a timm MLP on codes.

    Args:
        mlp: With layers fc1 and fc2 and the activation act.
        path: Its name in the model.
        largest: Largest magnitude entering each layer and activation, by name.
        kernels: The kernels to compute with.
    """
    first = Int8Linear(mlp.fc1, largest[f"{path}.fc1"], kernels)
    second = Int8Linear(mlp.fc2, largest[f"{path}.fc2"], kernels)
    found = Int8Mlp(first, mlp.act.cpu(), second, largest[f"{path}.act"])
    return found.to(mlp.fc1.weight.device)
