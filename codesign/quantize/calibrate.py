"""Calibration: weight scales, then the format of every tensor of codes, in one pass."""

from collections.abc import Mapping

import torch
from torch import Tensor

from codesign.graph.execute import run
from codesign.graph.ir import LAYER_OPERATIONS, SHAPE_OPERATIONS, Graph, Node
from codesign.numerics.activation import ACTIVATIONS
from codesign.numerics.fixed_point import Format
from codesign.numerics.softmax import probability_format
from codesign.numerics.weights import SCHEMES
from codesign.quantize.network import QuantizedNetwork
from codesign.quantize.observers import OBSERVERS

LOGITS_HEADROOM = 4.0
"""The logits' 16-bit codes reach to four times the largest calibrated logit."""
INNER_HEADROOM = 1.25
"""Other 16-bit codes, in front of an affine operation."""


@torch.no_grad()
def calibrate(
    network: QuantizedNetwork,
    images: Tensor,
    *,
    layer_means: Mapping[str, Tensor] | None = None,
) -> None:
    """Choose the network's weight scales and formats from one batch of images.

    The nodes are visited in order and each sees inputs that are already quantised, so that a
    format fits the values the integer model will really have.

    Args:
        network: The network; its `weight_scales` and `formats` are filled in.
        images: (batch, channels, height, width) float32.
        layer_means: The float model's mean output per channel of every layer
            (`mean_outputs`); if given, biases are corrected towards them.
    """
    observe = OBSERVERS.get(network.recipe.observer)
    for node in network.graph.layers:
        _scale_weights(network, node)
    values: dict[str, Tensor] = {}
    for node in network.graph.nodes:
        inputs = [values[name] for name in node.inputs]
        raw = network.raw(node, inputs, images)
        if layer_means is not None and node.op in LAYER_OPERATIONS:
            raw = _correct_bias(network, node, raw, layer_means[node.name])
        if node.op not in SHAPE_OPERATIONS and "fused" not in node.attributes:
            headroom = LOGITS_HEADROOM if node is network.graph.output else INNER_HEADROOM
            network.formats[node.name] = _format(node, raw, observe, headroom)
        values[node.name] = _quantized(network, node, raw, inputs)
        for name in network._last_uses[node.name]:
            del values[name]


@torch.no_grad()
def mean_outputs(graph: Graph, images: Tensor) -> dict[str, Tensor]:
    """Return the mean output per channel of every layer of a float graph."""
    means: dict[str, Tensor] = {}

    def keep(node: Node, result: Tensor) -> None:
        if node.op in LAYER_OPERATIONS:
            means[node.name] = _channel_mean(node, result)

    run(graph, images, hook=keep)
    return means


def _channel_mean(node: Node, result: Tensor) -> Tensor:
    channel = 1 if node.op == "conv2d" else result.dim() - 1
    return result.mean(dim=[d for d in range(result.dim()) if d != channel])


def _scale_weights(network: QuantizedNetwork, node: Node) -> None:
    layer = network.layers[node.name]
    weight = network.tensors[node.parameters["weight"]]
    scheme = SCHEMES.get(layer.weight_scheme)
    network.weight_scales[node.name] = scheme.search_scale(weight, layer.weight_bits)


def _correct_bias(network: QuantizedNetwork, node: Node, raw: Tensor, wanted: Tensor) -> Tensor:
    """Move a layer's bias so that its mean output per channel is the float model's."""
    if "bias" not in node.parameters:
        return raw
    shift = wanted - _channel_mean(node, raw)
    network.tensors[node.parameters["bias"]].add_(shift)
    return raw + (shift[:, None, None] if node.op == "conv2d" else shift)


def _format(node: Node, raw: Tensor, observe: object, headroom: float) -> Format:
    bits = node.attributes["bits"]
    if node.op == "softmax":
        return probability_format(bits)
    if bits > 8:
        peak = max(float(raw.abs().max()), 1e-6) * headroom
        if node.op == "activation" and ACTIVATIONS.get(node.attributes["function"]).clips:
            return Format(bits, peak / (2**bits - 1))  # clipping is at the smallest code
        return Format(bits, peak / 2 ** (bits - 1), 0, signed=True)
    return observe(raw, bits)  # type: ignore[operator]


def _quantized(network: QuantizedNetwork, node: Node, raw: Tensor, inputs: list[Tensor]) -> Tensor:
    if node.op in SHAPE_OPERATIONS or "fused" in node.attributes:
        return raw
    target = network.formats[node.name]
    if node.op == "activation":
        function = ACTIVATIONS.get(node.attributes["function"])
        if not function.clips:
            return function.twin(inputs[0], network.source_format(node.inputs[0]), target)
    return target.fake_quantize(raw)
