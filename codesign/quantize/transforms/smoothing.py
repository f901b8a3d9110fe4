"""Smoothing by powers of two: outlier channels behind a LayerNorm move into the next weights.

P2-ViT (Shi et al., arXiv 2405.19915), inspired by SmoothQuant (Xiao et al., ICML 2023): with

    s_c = 2 ** round(log2(max|x_c|**a / max|W_c|**(1 - a)))

gamma_c and beta_c are divided by s_c and column c of the weights is multiplied by it. P2-ViT
chooses `a` for each model and width; we choose it for each LayerNorm, from a pool that holds the
published values and no smoothing at all, by the squared error of the quantised layers' outputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from codesign.design import Design
from codesign.graph.ir import Graph
from codesign.quantize.channels import Arrival
from codesign.quantize.formats import uniform
from codesign.quantize.observers import rows
from codesign.quantize.recipe import Recipe
from codesign.quantize.transforms import sites
from codesign.quantize.transforms.base import TRANSFORMS, Transform

POOL = (None, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8)
SAMPLE_ROWS = 1024
_SMALLEST = 1e-5


@dataclass(frozen=True)
class _Reader:
    """A layer that reads a LayerNorm: its weight matrix, formats, and the channels it sees."""

    weight: Tensor
    index: Tensor
    weight_bits: int
    activation_bits: int


class Smoothing(Transform):
    """Divides LayerNorm outputs by powers of two and multiplies the weights behind."""

    name = "smoothing"

    def rewrite(self, graph: Graph) -> Graph:
        """Give the LayerNorms the parameters that will carry the factors."""
        found = sites.norm_sites(graph)
        return sites.with_parameters(graph, dict.fromkeys(found, ("weight", "bias")))

    def fit(self, graph: Graph, images: Tensor, design: Design, recipe: Recipe) -> Graph:
        """Choose the factors of each LayerNorm and move them."""
        found = sites.norm_sites(graph)
        seen: dict[str, list[Tensor]] = {name: [] for name in found}
        keep = {name: lambda x, name=name: seen[name].append(_thin_rows(x)) for name in found}
        sites.watch(graph, images, keep)  # type: ignore[arg-type]
        tensors = dict(graph.tensors)
        for name, readers in found.items():
            x = _thin_rows(torch.cat(seen.pop(name)))
            layers = [_reader(graph, arrival, design) for arrival in readers]
            factor = best_factor(x, layers, recipe)
            for key in graph[name].parameters.values():
                tensors[key] = tensors[key] / factor
            for arrival, layer in zip(readers, layers, strict=True):
                key = arrival.reader.parameters["weight"]
                tensors[key] = sites.columns(tensors[key], factor[layer.index])
        return replace(graph, tensors=tensors)


def best_factor(x: Tensor, readers: Sequence[_Reader], recipe: Recipe) -> Tensor:
    """Return the factor of each channel whose quantised layers err least.

    Args:
        x: The LayerNorm's outputs, (rows, channels).
        readers: The layers behind.
        recipe: How they will be quantised.
    """
    candidates = [smoothing_factor(x, readers, a) for a in POOL]
    return min(candidates, key=lambda factor: _output_error(x, readers, factor, recipe))


def smoothing_factor(x: Tensor, readers: Sequence[_Reader], a: float | None) -> Tensor:
    """Return s of the module's equation; ones where `a` is None."""
    peak = x.abs().amax(dim=0)
    if a is None:
        return torch.ones_like(peak)
    weight = torch.zeros_like(peak)
    for reader in readers:
        index = reader.index.to(x.device)
        weight.scatter_reduce_(0, index, reader.weight.abs().amax(dim=0), "amax")
    usable = (peak > _SMALLEST) & (weight > _SMALLEST)
    ratio = peak.clamp(min=_SMALLEST) ** a / weight.clamp(min=_SMALLEST) ** (1 - a)
    return torch.where(usable, torch.exp2(torch.round(torch.log2(ratio))), 1.0)


def _output_error(x: Tensor, readers: Sequence[_Reader], factor: Tensor, recipe: Recipe) -> float:
    total = 0.0
    for reader in readers:
        index = reader.index.to(x.device)
        smooth = (x / factor)[:, index]
        codes = uniform([smooth], reader.activation_bits, recipe)
        weight = _rounded(reader.weight * factor[index], reader.weight_bits)
        wanted = x[:, index] @ reader.weight.T
        error = (codes.fake_quantize(smooth) @ weight.T - wanted).square().mean()
        total += float(error / wanted.square().mean().clamp(min=1e-12))
    return total


def _rounded(weight: Tensor, bits: int) -> Tensor:
    """Return uniform weights with one scale for each output channel."""
    largest = 2 ** (bits - 1) - 1
    scale = weight.abs().amax(dim=1, keepdim=True).clamp(min=1e-8) / largest
    return torch.round(weight / scale) * scale


def _reader(graph: Graph, arrival: Arrival, design: Design) -> _Reader:
    layer = design.layer_formats[arrival.reader.name]
    weight = graph.tensors[arrival.reader.parameters["weight"]].flatten(1)
    index = arrival.channels.index.to(weight.device, torch.int64)
    return _Reader(weight, index, layer.weight_bits, layer.activation_bits)


def _thin_rows(x: Tensor) -> Tensor:
    """Return about SAMPLE_ROWS vectors of channels, evenly spread, (rows, channels)."""
    flat = rows(x, -1).T
    return flat[:: (len(flat) // SAMPLE_ROWS) | 1]


TRANSFORMS.register(Smoothing.name)(Smoothing())
