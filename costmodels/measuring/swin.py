"""Swin blocks of few kernels: what lies between two INT8 products is in their stages or one kernel.

A block is LayerNorm, query-key-value product, attention, projection, LayerNorm and the MLP's two
products: 7 kernels with ReLU; GELU is the eighth. The cyclic shift and the windows are the order in
which the first LayerNorm reads rows and the projection writes them; residuals are added in the
products' output stages. Query, key and value are codes: in FP16 they would be the largest tensor
between two kernels.
"""

from typing import Any

import torch
from torch import nn

from costmodels.errors import CostModelError
from costmodels.measuring.int8_kernels import Kernels
from costmodels.measuring.int8_layers import Int8Linear, int8_mlp
from costmodels.measuring.stages import Norm, OutputStage, Windows

_LARGEST = 127
PARTS = ("query", "key", "value")
_NO_KEY = -30000.0  # finite in FP16


class RowNorm(nn.Module):
    """LayerNorm of the last dimension; codes at `step` where it is given."""

    def __init__(self, norm: nn.LayerNorm, kernels: Kernels, step: float | None = None) -> None:
        super().__init__()
        self.kernels, self.step, self.epsilon = kernels, step, norm.eps
        self.weight, self.bias = norm.weight, norm.bias

    def forward(self, values: torch.Tensor, index: torch.Tensor | None = None) -> torch.Tensor:
        """Return the rows normalised; row r of an image comes from its row index[r]."""
        rows = values.reshape(-1, values.shape[-1])
        norm = Norm(self.weight, self.bias, self.epsilon, self.step, index)
        found = self.kernels.layer_norm(rows, norm)
        return found.reshape(values.shape)


class Int8WindowAttention(nn.Module):
    """Query-key-value product, attention in shifted windows and projection, on codes."""

    index: torch.Tensor
    position_bias: torch.Tensor
    regions: torch.Tensor | None

    def __init__(self, block: Any, path: str, largest: dict[str, float], kernels: Kernels) -> None:
        super().__init__()
        attention, self.kernels, self.tokens = block.attn, kernels, block.window_area
        self.qkv = Int8Linear(attention.qkv, largest[f"{path}.qkv"], kernels)
        self.proj = Int8Linear(attention.proj, largest[f"{path}.proj"], kernels)
        steps = [largest[f"{path}.qkv.{part}"] / _LARGEST for part in PARTS]
        query, key, value = (max(step, 1e-8) for step in steps)
        _divide(self.qkv, (query, key, value))
        self.score_scale = query * key * attention.scale
        self.output_factor = value / self.proj.input_scale
        self.register_buffer("position_bias", position_bias(attention))
        order, regions = window_order(block.input_resolution, block.window_size, block.shift_size)
        regions = nn.functional.pad(regions, (0, len(self.position_bias[0]) - self.tokens))
        device = attention.qkv.weight.device
        self.register_buffer("index", order.to(device))
        self.register_buffer("regions", regions.to(device) if any(block.shift_size) else None)

    def forward(self, codes: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        """Return `residual` with attention's result added.

        Args:
            codes: INT8 rows in the order of the windows.
            residual: Values of the rows in the order of the images.
        """
        scales = self.score_scale, self.output_factor
        windows = Windows(self.position_bias, self.regions, self.tokens, *scales)
        parts = self.qkv.on_codes(codes, OutputStage(output_scale=1.0))
        codes = self.kernels.window_attention(parts, windows)
        stage = OutputStage(index=self.index, residual=residual, dtype=residual.dtype)
        return self.proj.on_codes(codes, stage)


class Int8SwinBlock(nn.Module):
    """A Swin block on codes with a residual stream in floating point."""

    def __init__(self, block: Any, path: str, largest: dict[str, float], kernels: Kernels) -> None:
        super().__init__()
        self.size = tuple(block.input_resolution)
        self.attn = Int8WindowAttention(block, f"{path}.attn", largest, kernels)
        self.mlp = int8_mlp(block.mlp, f"{path}.mlp", largest, kernels)
        self.norm1 = RowNorm(block.norm1, kernels, self.attn.qkv.input_scale)
        self.norm2 = RowNorm(block.norm2, kernels, self.mlp.first.input_scale)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return the block's values, of shape (images, height, width, channels) as the input.

        Raises:
            CostModelError: The input has another height or width than the block.
        """
        if tuple(values.shape[1:3]) != self.size:
            raise CostModelError(f"a block for {self.size} tokens got {tuple(values.shape[1:3])}")
        rows = values.reshape(-1, values.shape[-1])
        rows = self.attn(self.norm1(rows, self.attn.index), rows)
        stage = OutputStage(residual=rows, dtype=rows.dtype)
        rows = self.mlp.on_codes(self.norm2(rows), stage)
        return rows.reshape(values.shape)


class Int8Merging(nn.Module):
    """Swin's patch merging: four neighbours in a row, LayerNorm, INT8 product."""

    def __init__(self, merging: Any, largest: float, kernels: Kernels) -> None:
        super().__init__()
        self.reduction = Int8Linear(merging.reduction, largest, kernels)
        self.norm = RowNorm(merging.norm, kernels, self.reduction.input_scale)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return values of shape (images, height / 2, width / 2, out channels)."""
        images, height, width, channels = values.shape
        if height % 2 or width % 2:
            values = nn.functional.pad(values, (0, 0, 0, width % 2, 0, height % 2))
        height, width = (height + 1) // 2, (width + 1) // 2
        values = values.reshape(images, height, 2, width, 2, channels).permute(0, 1, 3, 4, 2, 5)
        codes = self.norm(values.reshape(-1, 4 * channels))
        result = self.reduction.on_codes(codes, OutputStage(dtype=values.dtype))
        return result.reshape(images, height, width, -1)


def window_order(
    size: tuple[int, ...], window: tuple[int, ...], shift: tuple[int, ...]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the row of the image at each place of the windows, and the region it belongs to.

    Args:
        size: Height and width of the image in tokens, multiples of the window's.
        window: Height and width of a window.
        shift: Rows and columns that the image is rolled by before it is cut into windows.

    Returns:
        Int32, of shape (height * width,) and (windows, tokens of a window). Tokens of a window in
        different regions are no neighbours in the image.
    """
    (height, width), (rows, columns) = size, window
    image = torch.arange(height * width, dtype=torch.int32).view(height, width)
    image = image.roll((-shift[0], -shift[1]), (0, 1))
    bands = []
    for length, part, moved in zip(size, window, shift, strict=True):
        place = torch.arange(length, dtype=torch.int32)
        bands.append(torch.zeros_like(place))
        if moved:
            bands[-1] = (place >= length - part).int() + (place >= length - moved).int()
    region = 3 * bands[0][:, None] + bands[1]

    def cut(grid: torch.Tensor) -> torch.Tensor:
        parts = grid.reshape(height // rows, rows, width // columns, columns)
        return parts.permute(0, 2, 1, 3).reshape(-1, rows * columns).contiguous()

    return cut(image).flatten(), cut(region)


def position_bias(attention: Any) -> torch.Tensor:
    """Return the bias of the scores, (heads, tile, tile), -30000 at the keys that fill the tile."""
    table = attention.relative_position_bias_table.detach().float()
    tokens = len(attention.relative_position_index)
    bias = table[attention.relative_position_index.flatten()].t().reshape(-1, tokens, tokens)
    rest = max(16, 1 << (tokens - 1).bit_length()) - tokens
    bias = nn.functional.pad(bias, (0, rest), value=_NO_KEY)
    return nn.functional.pad(bias, (0, 0, 0, rest)).contiguous()


def _divide(qkv: Int8Linear, steps: tuple[float, ...]) -> None:
    """Make the layer return query, key and value in units of their steps."""
    each = torch.tensor(steps, device=qkv.scale.device)
    each = each.repeat_interleave(len(qkv.scale) // len(steps))
    qkv.scale, qkv.bias = qkv.scale / each, qkv.bias / each
