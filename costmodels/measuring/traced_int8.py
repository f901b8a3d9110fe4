"""The kernels of a network with INT8 layers: what `trace` cannot see of kernels outside PyTorch."""

from typing import Any

import torch
from torch.utils._python_dispatch import _disable_current_modes

from costmodels.measuring.int8_kernels import Kernels
from costmodels.measuring.trace import Recorder, element_wise, product_layer
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
        **stage: Any,
    ) -> torch.Tensor:
        """Record a product and return what its output stage gives."""
        label = f"{len(self.recorder.operations)}.linear"
        sizes = codes.shape[0], codes.shape[1], weight.shape[0]
        result_bits = 16 if stage.get("output_scale") is None else 8
        layer = product_layer(label, "linear", sizes, bits=8, output_bits=result_bits)
        self.recorder.operations.append(layer)
        with _disable_current_modes():
            return self.inner.linear(codes, weight, scale, bias, **stage)

    def _note(self, function: str, count: int, input_bits: int = 16) -> None:
        label = f"{len(self.recorder.operations)}.{function}"
        codes = element_wise(label, function, count, input_bits=input_bits, output_bits=8)
        self.recorder.operations.append(codes)
