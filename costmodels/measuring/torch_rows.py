"""LayerNorm, window attention and the scatter of rows in PyTorch: what the Triton kernels equal."""

import torch
import torch.nn.functional as F

from costmodels.measuring.stages import Norm, Windows

_OTHER_REGION = -100.0  # timm's own mask, added to the scores of tokens that a shift brought near


def codes_of(values: torch.Tensor, inverse: float) -> torch.Tensor:
    """Return values * inverse rounded half up and clamped to INT8."""
    return torch.floor(values.float() * inverse + 0.5).clamp(-128, 127).to(torch.int8)


def norm_rows(values: torch.Tensor, norm: Norm) -> torch.Tensor:
    """Return normalised rows."""
    if norm.index is not None:
        images = values.reshape(-1, norm.index.numel(), values.shape[-1])
        values = images[:, norm.index].flatten(0, 1)
    size, weight, bias = (values.shape[-1],), norm.weight.float(), norm.bias.float()
    found = F.layer_norm(values.float(), size, weight, bias, norm.epsilon)
    return found.to(values.dtype) if norm.step is None else codes_of(found, 1 / norm.step)


def window_attention(codes: torch.Tensor, windows: Windows) -> torch.Tensor:
    """Return attention's codes."""
    heads, tokens = windows.bias.shape[0], windows.tokens
    parts = codes.reshape(-1, tokens, 3, heads, codes.shape[1] // 3 // heads)
    query, key, value = parts.float().permute(2, 0, 3, 1, 4)
    near = windows.bias[:, :tokens, :tokens].float()
    score = query @ key.transpose(-2, -1) * windows.score_scale + near
    if windows.regions is not None:
        region = windows.regions[:, :tokens]
        other = (region[:, :, None] != region[:, None, :]).float() * _OTHER_REGION
        score = score + other.repeat(len(score) // len(other), 1, 1)[:, None]
    weight = torch.exp(score - score.amax(-1, keepdim=True))
    mixed = weight.half().float() @ value / weight.sum(-1, keepdim=True)
    return codes_of(mixed.transpose(1, 2).reshape(len(codes), -1), windows.output_factor)


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
