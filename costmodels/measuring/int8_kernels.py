"""The kernels of INT8 layers: what they are, and PyTorch's own."""

from typing import Any, Protocol

import torch
from torch import nn

from costmodels.errors import CostModelError
from costmodels.measuring import torch_rows
from costmodels.measuring.stages import Norm, OutputStage, Windows
from costmodels.measuring.torch_rows import codes_of

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
        stage: OutputStage,
    ) -> torch.Tensor:
        """Return codes @ weight.T, rescaled, after the output stage.

        Args:
            codes: INT8, of shape (rows, depth), contiguous.
            weight: INT8, of shape (columns, depth), contiguous.
            scale: Float32 factor of each column's sums.
            bias: Float32, added after it.
            stage: What follows.
        """

    def layer_norm(self, values: torch.Tensor, norm: Norm) -> torch.Tensor:
        """Return each row of `values`, of shape (rows, columns), normalised."""

    def window_attention(self, codes: torch.Tensor, windows: Windows) -> torch.Tensor:
        """Return attention's result within each window as INT8 codes (windows * tokens, channels).

        Args:
            codes: INT8, of shape (windows * tokens, 3 * channels): query, key, value by head.
            windows: What attention is within.
        """


class TorchKernels:
    """INT8 kernels by torch._int_mm; the output stage is compiled into one kernel where asked."""

    name = "torch"

    def __init__(self, compiled: bool = False) -> None:
        self.compiled = compiled
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
        stage: OutputStage,
    ) -> torch.Tensor:
        """Return codes @ weight.T, rescaled, after the output stage."""
        rows = codes.shape[0]
        if rows < _LEAST_ROWS:
            codes = nn.functional.pad(codes, (0, 0, 0, _LEAST_ROWS - rows))
        sums = torch._int_mm(codes, weight.t())[:rows]
        inverse = None if stage.output_scale is None else 1 / stage.output_scale
        if stage.residual is None and stage.index is None:
            return self._epilogue(sums, scale, bias, stage.relu, inverse, stage.dtype)
        values = self._epilogue(sums, scale, bias, stage.relu, None, torch.float32)
        if stage.index is not None:
            values = torch_rows.scatter_rows(values, stage.index)
        if stage.residual is not None:
            values = values + stage.residual.float()
        return values.to(stage.dtype) if inverse is None else codes_of(values, inverse)

    def layer_norm(self, values: torch.Tensor, norm: Norm) -> torch.Tensor:
        """Return each row normalised."""
        return torch_rows.norm_rows(values, norm)

    def window_attention(self, codes: torch.Tensor, windows: Windows) -> torch.Tensor:
        """Return attention's codes."""
        return torch_rows.window_attention(codes, windows)


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
