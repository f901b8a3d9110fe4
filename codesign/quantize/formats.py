"""Formats: from the calibration values of a tensor to the codes that stand for them."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from codesign.graph.ir import Node
from codesign.numerics.activation import ACTIVATIONS
from codesign.numerics.fixed_point import Format
from codesign.quantize.observers import observe, rows, thinned
from codesign.quantize.recipe import Recipe

LOGITS_HEADROOM = 4.0
"""The logits' 16-bit codes reach to four times the largest calibrated logit."""
LEAST_INNER_SCALE = 2.0**-16
"""In front of an arithmetic activation: it keeps products of codes within 32 bits."""
INNER_HEADROOM = 1.25
"""Other 16-bit codes, in front of an affine operation."""
LARGEST_FACTOR = 3
"""Exponents of the power-of-two factors of channels are 0 to this (K of FQ-ViT)."""
LARGEST_RATIO = 6
"""The coarse scale of two-scale codes is at most 2 to this times the fine one."""
TWO_SCALE_READERS = frozenset(
    {"conv2d", "linear", "matmul", "add", "mul", "requantize", "affine", "mean", "concat"}
)
"""What can read codes that are not evenly spaced: everything that starts from whole numbers."""

Batches = Sequence[Tensor]


def choose_format(node: Node, batches: Batches, recipe: Recipe, *, is_output: bool) -> Format:
    """Return the format of a node's codes.

    Args:
        node: A node of the planned graph.
        batches: Its calibration values.
        recipe: How to quantise.
        is_output: The node gives the logits.
    """
    bits = node.attributes["bits"]
    if bits > 8:
        return wide(batches, bits, recipe, LOGITS_HEADROOM if is_output else INNER_HEADROOM, node)
    if "factor_axis" in node.attributes:
        return channel_factors(batches, bits, recipe, node.attributes["factor_axis"])
    if node.attributes.get("codes") == "two_scale":
        return two_scale(batches, bits, recipe)
    return uniform(batches, bits, recipe)


def uniform(batches: Batches, bits: int, recipe: Recipe) -> Format:
    """Return evenly spaced codes: asymmetric, or on a power-of-two scale."""
    if recipe.scales == "power_of_two":
        return power_of_two(batches, bits)
    return observe(recipe.observer, batches).format(bits)


def wide(batches: Batches, bits: int, recipe: Recipe, headroom: float, node: Node) -> Format:
    """Return the codes of logits, or of values that stay inside the output stage."""
    peak = max(max(float(values.abs().max()) for values in batches), 1e-6) * headroom
    signed = not _clips(node)  # clipping is at the smallest code
    scale = peak / (2 ** (bits - 1) if signed else 2**bits - 1)
    if bits < 16:
        scale = max(scale, LEAST_INNER_SCALE)
    if recipe.scales == "power_of_two":
        scale = 2.0 ** math.ceil(math.log2(scale))
    return Format(bits, scale, 0, signed=signed)


def power_of_two(batches: Batches, bits: int) -> Format:
    """Return the codes on the power-of-two scale with the least squared error.

    P2-ViT (Shi et al., arXiv 2405.19915): with f the exponent that the largest magnitude asks for,
    rounded down, the candidates are 2**(f - 1) to 2**(f + 2). Codes are symmetric and signed, as
    there; a tensor without negative values gets unsigned ones, which have one bit more for it and
    cost nothing: both have the zero point 0.
    """
    low, high = (float(end) for end in observe("minmax", batches).ranges())
    signed = low < 0
    peak = max(-low, high) or 1.0
    exponent = math.floor(math.log2(peak / ((2**bits - 1) / (2 if signed else 1))))
    sample = _sample(batches)
    candidates = [Format(bits, 2.0 ** (exponent + i), 0, signed) for i in (-1, 0, 1, 2)]
    return min(candidates, key=lambda f: _error(sample, f))


def _power_of_two_above(low: float, high: float, bits: int) -> Format:
    """Return the codes on the smallest power-of-two scale that reaches both ends."""
    signed = low < 0
    peak, largest = (max(-low, high), 2 ** (bits - 1) - 1) if signed else (high, 2**bits - 1)
    return Format(bits, 2.0 ** math.ceil(math.log2((peak or 1.0) / largest)), 0, signed)


def channel_factors(batches: Batches, bits: int, recipe: Recipe, axis: int) -> Format:
    """Return codes with a power-of-two factor for each channel, the inputs of LayerNorms.

    Powers-of-Two Factor of FQ-ViT (Lin et al., IJCAI 2022, arXiv 2111.13824): one
    scale s8 and zero point from the tensor's smallest and largest value, then channels on
    s8 / 8 * 2**alpha, alpha from 0 to 3 with the least squared error of the channel.

    Args:
        batches: Calibration values.
        bits: Width of the codes.
        recipe: With power-of-two scales s8 is the smallest one that clips nothing: P2-ViT leaves
            it free, which would make these tensors' requantisation more than a shift.
        axis: The dimension of the channels, counted from the last.
    """
    base = observe("minmax", batches).format(bits)
    if recipe.scales == "power_of_two":
        low, high = (float(end) for end in observe("minmax", batches).ranges())
        base = _power_of_two_above(low, high, bits)
    x = thinned(torch.cat([rows(values.detach(), axis) for values in batches], dim=1))
    smallest = base.scale / 2**LARGEST_FACTOR
    errors = []
    for alpha in range(LARGEST_FACTOR + 1):
        f = Format(bits, smallest * 2**alpha, base.zero_point, base.signed)
        errors.append((f.fake_quantize(x) - x).square().mean(dim=1))
    shifts = tuple(torch.stack(errors).argmin(dim=0).tolist())
    if len(set(shifts)) == 1:
        return Format(bits, smallest * 2 ** shifts[0], base.zero_point, base.signed)
    return Format(bits, smallest, base.zero_point, base.signed, shifts, axis)


def two_scale(batches: Batches, bits: int, recipe: Recipe) -> Format:
    """Return codes with a fine scale for negative and a coarse one for positive values.

    As in PTQ4ViT (Yuan et al., ECCV 2022) and TSPTQ-ViT (Tai et al., ICASSP 2023) the ratio of the
    scales is a power of two and one bit of the code is the region's. Ours is that of the sign:
    a code is a two's complement number, shifted left if it is not negative. The ratio has
    the least squared error of the negative values; tensors that are not longer on the positive
    side get uniform codes.
    """
    sample = _sample(batches)
    low, high = float(sample.min()), float(sample.max())
    if not -high / 2 < low < 0:
        return uniform(batches, bits, recipe)
    half = 2 ** (bits - 1)
    positive = [values.clamp(min=0) for values in batches]
    coarse = float(observe(recipe.observer, positive).ranges(bits - 1)[1]) / (half - 1)
    if recipe.scales == "power_of_two":
        coarse = 2.0 ** math.ceil(math.log2(coarse))
    candidates = [
        Format(bits, coarse / 2**ratio, codebook=_codebook(half, ratio))
        for ratio in range(LARGEST_RATIO + 1)
    ]
    return min(candidates, key=lambda f: _error(sample, f))


def _codebook(half: int, ratio: int) -> tuple[int, ...]:
    return (*(code << ratio for code in range(half)), *range(-half, 0))


def _error(sample: Tensor, candidate: Format) -> float:
    return float((candidate.fake_quantize(sample) - sample).square().mean())


def _sample(batches: Batches) -> Tensor:
    return thinned(torch.cat([thinned(rows(v.detach(), None)) for v in batches], dim=1))[0]


def _clips(node: Node) -> bool:
    return node.op == "activation" and ACTIVATIONS.get(node.attributes["function"]).clips
