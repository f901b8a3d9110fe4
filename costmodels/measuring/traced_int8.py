"""The kernels of a network with INT8 layers: what `trace` cannot see of kernels outside PyTorch."""

from dataclasses import replace

import torch
from torch.utils._python_dispatch import _disable_current_modes

from costmodels.measuring.int8_kernels import Kernels
from costmodels.measuring.stages import Norm, OutputStage, Windows
from costmodels.measuring.trace import (
    Recorder,
    attention_on_codes,
    element_wise,
    product_layer,
)
from costmodels.workload import Workload


def trace_int8(
    model: torch.nn.Module, image: torch.Tensor, name: str, *, add_biases: bool = False
) -> Workload:
    """Return the operators of a model whose linear layers are INT8, as `trace` does.

    Args:
        model: A model after `quantize_linears`.
        image: Input of shape (1, channels, height, width) on the model's device.
        name: Name of the workload.
        add_biases: As for `trace`.
    """
    recorder = Recorder(add_biases)
    owners = [module for module in model.modules() if hasattr(module, "kernels")]
    before = [module.kernels for module in owners]
    for module, kernels in zip(owners, before, strict=True):
        module.kernels = _Recorded(kernels, recorder)  # type: ignore[assignment, arg-type]
    try:
        with torch.no_grad(), recorder:
            model(image)
    finally:
        for module, kernels in zip(owners, before, strict=True):
            module.kernels = kernels
    return Workload(name, tuple(recorder.operations), 0)


class _Recorded:
    """INT8 kernels that note what they are asked for, and hide how they do it."""

    name = "recorded"

    def __init__(self, inner: Kernels, recorder: Recorder) -> None:
        self.inner, self.recorder = inner, recorder

    def quantize(self, values: torch.Tensor, scale: float) -> torch.Tensor:
        """Record a quantiser and return its codes."""
        self._note("quantize", values.numel())
        with _disable_current_modes():
            return self.inner.quantize(values, scale)

    def look_up(self, codes: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        """Record a table and return what it gives."""
        self._note("table", codes.numel(), input_bits=8)
        with _disable_current_modes():
            return self.inner.look_up(codes, table)

    def linear(
        self,
        codes: torch.Tensor,
        weight: torch.Tensor,
        scale: torch.Tensor,
        bias: torch.Tensor,
        stage: OutputStage,
    ) -> torch.Tensor:
        """Record a product and return what its output stage gives."""
        sizes = codes.shape[0], codes.shape[1], weight.shape[0]
        bits = 16 if stage.output_scale is None else 8
        layer = product_layer(self._label("linear"), "linear", sizes, bits=8, output_bits=bits)
        if stage.residual is not None:  # an FP16 operand more: two bytes, as of two codes
            read = layer.input_elements + 2 * stage.residual.numel()
            layer = replace(layer, input_elements=read)
        self.recorder.operations.append(layer)
        with _disable_current_modes():
            return self.inner.linear(codes, weight, scale, bias, stage)

    def layer_norm(self, values: torch.Tensor, norm: Norm) -> torch.Tensor:
        """Record a norm of rows and return what it gives."""
        bits = 16 if norm.step is None else 8
        self._note("row_norm", values.numel(), values.shape[-1], output_bits=bits)
        with _disable_current_modes():
            return self.inner.layer_norm(values, norm)

    def window_attention(self, codes: torch.Tensor, windows: Windows) -> torch.Tensor:
        """Record attention on codes and return its codes."""
        tokens, heads = windows.tokens, windows.bias.shape[0]
        sizes = codes.shape[0] // tokens * heads, tokens, codes.shape[1] // 3 // heads
        self.recorder.operations += attention_on_codes(self._label("attention"), *sizes)
        with _disable_current_modes():
            return self.inner.window_attention(codes, windows)

    def _note(
        self, function: str, count: int, row: int = 1, input_bits: int = 16, output_bits: int = 8
    ) -> None:
        bits = {"input_bits": input_bits, "output_bits": output_bits}
        self.recorder.operations.append(
            element_wise(self._label(function), function, count, row, None, **bits)
        )

    def _label(self, what: str) -> str:
        return f"{len(self.recorder.operations)}.{what}"
