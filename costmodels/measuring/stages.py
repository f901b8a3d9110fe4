"""What INT8 kernels are asked for besides their operands."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class OutputStage:
    """What a product does to its sums before it writes them, in this order.

    Attributes:
        relu: Whether to clamp at zero.
        index: Int32; row r of an image of len(index) rows becomes its row index[r], which
            `residual` is read at too.
        residual: Values of the result's shape, added.
        output_scale: Step of the codes written; None writes values.
        dtype: Type of the values.
    """

    relu: bool = False
    index: torch.Tensor | None = None
    residual: torch.Tensor | None = None
    output_scale: float | None = None
    dtype: torch.dtype = torch.float16


@dataclass(frozen=True)
class Norm:
    """A LayerNorm of rows.

    Attributes:
        weight: Factor of each column.
        bias: Added after it.
        epsilon: Added to the variance.
        step: Step of the codes written; None writes values of the rows' type.
        index: Int32; row r of an image of len(index) rows comes from its row index[r].
    """

    weight: torch.Tensor
    bias: torch.Tensor
    epsilon: float
    step: float | None = None
    index: torch.Tensor | None = None


@dataclass(frozen=True)
class Windows:
    """Attention within windows.

    Attributes:
        bias: Added to the scores, of shape (heads, tile, tile), tile the power of two from 16 that
            holds the tokens; -30000 at the keys beyond them.
        regions: Int32, of shape (windows of an image, tile): tokens of a window see those of their
            own region. None: they see all.
        tokens: Of a window.
        score_scale: What one unit of a product of codes adds to a score.
        output_factor: The value codes' step over that of the codes returned.
    """

    bias: torch.Tensor
    regions: torch.Tensor | None
    tokens: int
    score_scale: float
    output_factor: float
