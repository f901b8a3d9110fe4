"""Attention within windows on INT8 codes, one Triton program for each window and head."""

import torch
import triton
import triton.language as tl

from costmodels.measuring.stages import Windows

_LEAST_HEAD = 32  # the depth of an INT8 tensor-core instruction


@triton.jit
def _window_attention(
    codes: tl.tensor,
    bias: tl.tensor,
    regions: tl.tensor,
    result: tl.tensor,
    heads: tl.tensor,
    kinds: tl.tensor,
    score_scale: tl.tensor,
    output_factor: tl.tensor,
    masked: tl.constexpr,
    tokens: tl.constexpr,
    head: tl.constexpr,
    tile: tl.constexpr,
    tile_head: tl.constexpr,
) -> None:
    window = tl.program_id(0) // heads
    which = tl.program_id(0) % heads
    width = heads * head
    row = tl.arange(0, tile)
    key = tl.arange(0, tile)
    k = tl.arange(0, tile_head)
    start = codes + window * tokens * 3 * width + which * head
    inside = (row[:, None] < tokens) & (k[None, :] < head)
    place = row[:, None] * 3 * width + k[None, :]
    query = tl.load(start + place, mask=inside, other=0)
    value = tl.load(start + 2 * width + place, mask=inside, other=0)
    turned = (key[None, :] < tokens) & (k[:, None] < head)
    keys = tl.load(start + width + key[None, :] * 3 * width + k[:, None], mask=turned, other=0)
    # The bias holds -30000 at the keys that only fill the tile, so they get no weight.
    near = tl.load(bias + which * tile * tile + row[:, None] * tile + key[None, :])
    score = tl.dot(query, keys, out_dtype=tl.int32).to(tl.float32) * score_scale
    score += near.to(tl.float32)
    if masked:
        kind = regions + (window % kinds) * tile
        other = tl.load(kind + row)[:, None] != tl.load(kind + key)[None, :]
        score += tl.where(other, -100.0, 0.0)
    weight = tl.exp(score - tl.max(score, axis=1)[:, None])
    total = tl.sum(weight, axis=1)
    # Codes are exact in FP16, and the sums are kept in FP32.
    mixed = tl.dot(weight.to(tl.float16), value.to(tl.float16))
    mixed = tl.floor(mixed / total[:, None] * output_factor + 0.5)
    mixed = tl.minimum(tl.maximum(mixed, -128.0), 127.0)
    place = (window * tokens + row[:, None]) * width + which * head + k[None, :]
    tl.store(result + place, mixed.to(tl.int8), mask=inside)


def window_attention(codes: torch.Tensor, windows: Windows) -> torch.Tensor:
    """Return attention's codes."""
    bias, regions, tokens = windows.bias, windows.regions, windows.tokens
    heads, tile, _ = bias.shape
    rows, width = codes.shape[0], codes.shape[1] // 3
    head = width // heads
    result = torch.empty((rows, width), dtype=torch.int8, device=codes.device)
    _window_attention[(rows // tokens * heads,)](
        codes,
        bias,
        bias if regions is None else regions,
        result,
        heads,
        1 if regions is None else regions.shape[0],
        windows.score_scale,
        windows.output_factor,
        regions is not None,
        tokens,
        head,
        tile,
        max(_LEAST_HEAD, triton.next_power_of_2(head)),
        num_warps=4,
    )
    return result
