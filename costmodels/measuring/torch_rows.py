"""LayerNorm, window attention and the scatter of rows in PyTorch: what the Triton kernels equal."""

import torch
import torch.nn.functional as F

_OTHER_REGION = -100.0  # timm's own mask, added to the scores of tokens that a shift brought near


def codes_of(values: torch.Tensor, inverse: float) -> torch.Tensor:
    """Return values * inverse rounded half up and clamped to INT8."""
    return torch.floor(values.float() * inverse + 0.5).clamp(-128, 127).to(torch.int8)


def norm_rows(
    values: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    epsilon: float,
    step: float | None,
    index: torch.Tensor | None,
) -> torch.Tensor:
    """Return normalised rows (see `int8_kernels.Kernels.layer_norm`)."""
    if index is not None:
        values = values.reshape(-1, index.numel(), values.shape[-1])[:, index].flatten(0, 1)
    size = (values.shape[-1],)
    found = F.layer_norm(values.float(), size, weight.float(), bias.float(), epsilon)
    return found.to(values.dtype) if step is None else codes_of(found, 1 / step)


def window_attention(
    codes: torch.Tensor,
    bias: torch.Tensor,
    regions: torch.Tensor | None,
    tokens: int,
    score_scale: float,
    output_factor: float,
) -> torch.Tensor:
    """Return attention's codes (see `int8_kernels.Kernels.window_attention`)."""
    heads = bias.shape[0]
    parts = codes.reshape(-1, tokens, 3, heads, codes.shape[1] // 3 // heads)
    query, key, value = parts.float().permute(2, 0, 3, 1, 4)
    score = query @ key.transpose(-2, -1) * score_scale + bias[:, :tokens, :tokens].float()
    if regions is not None:
        region = regions[:, :tokens]
        other = (region[:, :, None] != region[:, None, :]).float() * _OTHER_REGION
        score = score + other.repeat(len(score) // len(other), 1, 1)[:, None]
    weight = torch.exp(score - score.amax(-1, keepdim=True))
    mixed = weight.half().float() @ value / weight.sum(-1, keepdim=True)
    return codes_of(mixed.transpose(1, 2).reshape(len(codes), -1), output_factor)


def scatter_rows(values: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Return the rows of each image moved: row r to row index[r].

    Args:
        values: Of shape (images * len(index), columns).
        index: A permutation of an image's rows.
    """
    images = values.reshape(-1, index.numel(), values.shape[-1])
    result = torch.empty_like(images)
    result[:, index] = images
    return result.flatten(0, 1)
