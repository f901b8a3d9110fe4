"""Rounding with straight-through gradients: the pieces of the differentiable twins.

torch's own fake-quantise kernels give the same values but are neither vectorised on the CPU nor
cheap to differentiate; these are a few in-place vector passes and one fused backward kernel.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def read(table: Tensor, index: Tensor) -> Tensor:
    """Return table[index] for whole-number indices of any shape.

    `index_select` is ten times as fast on the CPU as indexing.
    """
    return torch.index_select(table, 0, index.reshape(-1)).reshape(index.shape)


class FakeQuantize(torch.autograd.Function):
    """Round to multiples of a scale within limits; pass gradients inside the limits."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float, low: float, high: float) -> Tensor:
        """Return scale * round(clamp(x, low, high) / scale)."""
        ctx.save_for_backward(x)
        ctx.limits = (low - 0.5 * scale, high + 0.5 * scale)
        return x.clamp(low, high).mul_(1.0 / scale).round_().mul_(scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """Return the gradient where x was inside the limits, else zero."""
        (x,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(gradient, x, *ctx.limits), None, None, None


class Substitute(torch.autograd.Function):
    """Put given values in place of x; pass gradients where |x| is within a limit of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, values: Tensor, limit: Tensor) -> Tensor:
        """Return the values."""
        ctx.save_for_backward(x, limit)
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """Return the gradient where |x| <= limit, else zero."""
        x, limit = ctx.saved_tensors
        return gradient * (x.abs() <= limit), None, None


class LearnedScale(torch.autograd.Function):
    """Put scale * level in place of a weight, with LSQ's gradient for the scale.

    d value / d scale is level - weight / scale in range, the level itself beyond it, and zero where
    frozen (Esser et al., "Learned step size quantization", ICLR 2020, equation 3), times `step`.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        scale: Tensor,
        values: Tensor,
        limit: Tensor,
        frozen: Tensor,
        step: float,
    ) -> Tensor:
        """Return the values."""
        inside = x.abs() <= limit
        slope = torch.where(inside, values - x, values).div_(scale).masked_fill_(frozen, 0.0)
        ctx.save_for_backward(inside, slope)
        ctx.step, ctx.shape = step, scale.shape
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """Return the gradients of x and of the scale."""
        inside, slope = ctx.saved_tensors
        of_scale = (gradient * slope).mul_(ctx.step).sum_to_size(ctx.shape)
        return gradient * inside, of_scale, None, None, None, None


class Bounded(torch.autograd.Function):
    """Put given values in place of x; pass gradients where x is within limits (tensors or not)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, values: Tensor, low: Any, high: Any) -> Tensor:
        """Return the values."""
        ctx.save_for_backward((x >= low) & (x <= high))
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """Return the gradient where x was inside the limits, else zero."""
        (inside,) = ctx.saved_tensors
        return gradient * inside, None, None, None


class GELUTable(torch.autograd.Function):
    """Look a function near GELU up in a table of its code values; GELU's gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, values: Tensor, scale: float, zero_point: int) -> Tensor:
        """Return values[code of x]."""
        return SiLUTable.forward(ctx, x, values, scale, zero_point)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """Return the gradient of GELU."""
        (x,) = ctx.saved_tensors
        return torch.ops.aten.gelu_backward(gradient, x), None, None, None


class SiLUTable(torch.autograd.Function):
    """Look a function near SiLU up in a table of its code values; SiLU's gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, values: Tensor, scale: float, zero_point: int) -> Tensor:
        """Return values[code of x]."""
        ctx.save_for_backward(x)
        codes = (x * (1.0 / scale)).round_().add_(zero_point).clamp_(0, len(values) - 1)
        return read(values, codes.to(torch.int32))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """Return the gradient of SiLU."""
        (x,) = ctx.saved_tensors
        return torch.ops.aten.silu_backward(gradient, x), None, None, None
