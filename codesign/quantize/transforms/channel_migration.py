"""Channel-wise migration: depthwise inputs of even range, the depthwise filters in their place.

Trio-ViT (Shi et al., arXiv 2405.03882): behind an activation the channels of a depthwise input
differ in range by far; each is divided by

    div_c = max|x_c| / max(P99 of all |x|, mean over c of max|x_c|),  within 1/10 to 64,

and the channel's filter is multiplied by it, which costs the filter nothing: its scale is its own.
A channel that is always zero keeps its factor 1. The division goes into the layer in front where
nothing or a ReLU is between, else into an affine operation behind the activation, in the output
stage, on 16-bit codes. P99 of magnitudes is our reading: the published code takes it of values
behind an activation, which hardly differ.
"""

from dataclasses import replace

import torch
from torch import Tensor

from codesign.design import Design
from codesign.graph.ir import Graph, Node
from codesign.quantize.observers import observe, rows, thinned
from codesign.quantize.recipe import Recipe
from codesign.quantize.transforms import sites
from codesign.quantize.transforms.base import TRANSFORMS, Transform

SMALLEST, LARGEST = 0.1, 64.0
PERCENTILE = 0.99


class ChannelMigration(Transform):
    """Moves the ranges of channels from depthwise inputs to depthwise filters."""

    name = "channel_migration"

    def rewrite(self, graph: Graph) -> Graph:
        """Put an affine node in front of depthwise layers with no layer to fold into."""
        owned = sites.Owners(graph)
        needed = [
            node.name
            for node in _layers(graph)
            if sites.homogeneous_producer(graph, node, owned) is None
        ]
        return sites.with_affine(graph, needed)

    def fit(self, graph: Graph, images: Tensor, design: Design, recipe: Recipe) -> Graph:
        """Divide the channels and multiply the filters."""
        layers, seen = _layers(graph), dict[str, list[Tensor]]()
        keep = {node.inputs[0]: seen.setdefault(node.inputs[0], []).append for node in layers}
        sites.watch(graph, images, keep)
        tensors = dict(graph.tensors)
        for node in layers:
            _divide(graph, node, division(seen[node.inputs[0]]), tensors)
        return replace(graph, tensors=tensors)


def division(batches: list[Tensor]) -> Tensor:
    """Return the divisor of each channel of (images, channels, height, width) values."""
    low, high = observe("minmax", batches, -3).ranges()
    peak = torch.maximum(high.abs(), low.abs())
    sample = thinned(torch.cat([thinned(rows(values.abs(), None)) for values in batches], dim=1))
    common = max(float(torch.quantile(sample, PERCENTILE)), float(peak.mean()))
    return torch.where(peak > 0, (peak / (common or 1.0)).clamp(SMALLEST, LARGEST), 1.0)


def _layers(graph: Graph) -> list[Node]:
    owned = sites.Owners(graph)
    return [n for n in graph.layers if sites.is_depthwise(graph, n) and owned(n)]


def _divide(graph: Graph, layer: Node, divisor: Tensor, tensors: dict[str, Tensor]) -> None:
    affine = sites.own_affine(graph, layer)
    producer = sites.homogeneous_producer(graph, layer, sites.Owners(graph))
    if affine is not None:
        for key in affine.parameters.values():
            tensors[key] = tensors[key] / divisor
    else:
        assert producer is not None
        for key in producer.parameters.values():
            tensors[key] = sites.rows_scaled(tensors[key], 1 / divisor)
    key = layer.parameters["weight"]
    repeats = len(tensors[key]) // len(divisor)
    tensors[key] = sites.rows_scaled(tensors[key], divisor.repeat_interleave(repeats))


TRANSFORMS.register(ChannelMigration.name)(ChannelMigration())
