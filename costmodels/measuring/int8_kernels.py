"""The kernels of INT8 layers: what they are, and PyTorch's own."""

from typing import Any, Protocol

import torch
from torch import nn

from costmodels.errors import CostModelError

_LEAST_ROWS = 17  # of torch._int_mm on CUDA


class Kernels(Protocol):
    """The kernels that an INT8 layer needs (see `triton_kernels.TritonKernels`)."""

    name: str

    def quantize(self, values: torch.Tensor, scale: float) -> torch.Tensor:
        """Return the INT8 codes of `values`."""

    def look_up(self, codes: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        """Return `table[code + 128]` for each code."""

    def linear(
        self,
        codes: torch.Tensor,
        weight: torch.Tensor,
        scale: torch.Tensor,
        bias: torch.Tensor,
        *,
        relu: bool = False,
        output_scale: float | None = None,
        dtype: torch.dtype = torch.float16,
    ) -> torch.Tensor:
        """Return codes @ weight.T, rescaled."""


class TorchKernels:
    """INT8 kernels by torch._int_mm; the output stage is compiled into one kernel where asked."""

    name = "torch"

    def __init__(self, compiled: bool = False) -> None:
        self._epilogue: Any = torch.compile(_epilogue, dynamic=True) if compiled else _epilogue
        self._codes: Any = torch.compile(codes_of, dynamic=True) if compiled else codes_of
        self._look: Any = torch.compile(_look, dynamic=True) if compiled else _look

    def quantize(self, values: torch.Tensor, scale: float) -> torch.Tensor:
        """Return the INT8 codes of `values`, rounded half up."""
        return self._codes(values, 1 / scale)

    def look_up(self, codes: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        """Return `table[code + 128]` for each code."""
        return self._look(codes, table)

    def linear(
        self,
        codes: torch.Tensor,
        weight: torch.Tensor,
        scale: torch.Tensor,
        bias: torch.Tensor,
        *,
        relu: bool = False,
        output_scale: float | None = None,
        dtype: torch.dtype = torch.float16,
    ) -> torch.Tensor:
        """Return codes @ weight.T, rescaled (see `TritonKernels.linear`)."""
        rows = codes.shape[0]
        if rows < _LEAST_ROWS:
            codes = nn.functional.pad(codes, (0, 0, 0, _LEAST_ROWS - rows))
        sums = torch._int_mm(codes, weight.t())[:rows]
        inverse = None if output_scale is None else 1 / output_scale
        return self._epilogue(sums, scale, bias, relu, inverse, dtype)


def choose_kernels(name: str, device: torch.device) -> Kernels:
    """Return the kernels called "torch", "compiled" or "triton"; "auto" the best of the device.

    Raises:
        CostModelError: Triton is asked for and is not installed.
    """
    if name == "auto":
        name = _best_kernels(device)
    if name != "triton":
        return TorchKernels(compiled=name == "compiled")
    try:
        from costmodels.measuring.triton_kernels import TritonKernels
    except ImportError:
        raise CostModelError("kernels=triton: Triton is not installed; use compiled") from None
    return TritonKernels()


def _best_kernels(device: torch.device) -> str:
    """Triton's INT8 products need Ampere's tensor cores or later."""
    if device.type != "cuda":
        return "torch"
    return "triton" if torch.cuda.get_device_capability(device) >= (8, 0) else "compiled"


def codes_of(values: torch.Tensor, inverse: float) -> torch.Tensor:
    """Return values * inverse rounded half up and clamped to INT8."""
    return torch.floor(values.float() * inverse + 0.5).clamp(-128, 127).to(torch.int8)


def _look(codes: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    return table[codes.to(torch.int32) + 128]


def _epilogue(
    sums: torch.Tensor,
    scale: torch.Tensor,
    bias: torch.Tensor,
    relu: bool,
    inverse: float | None,
    dtype: torch.dtype,
) -> torch.Tensor:
    values = sums.float() * scale + bias
    values = values.relu() if relu else values
    return values.to(dtype) if inverse is None else codes_of(values, inverse)
