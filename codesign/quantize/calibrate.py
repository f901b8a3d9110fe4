"""Calibration: weight scales and the format of every tensor of codes, in one pass."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from codesign.errors import RunError
from codesign.graph.execute import run
from codesign.graph.ir import LAYER_OPERATIONS, SHAPE_OPERATIONS, Graph, Node
from codesign.numerics.fixed_point import Format
from codesign.numerics.softmax import SOFTMAXES
from codesign.quantize import weight_scales
from codesign.quantize.formats import choose_format
from codesign.quantize.network import QuantizedNetwork
from codesign.quantize.observers import rows, thinned

BATCH_IMAGES = 32
"""Images a calibration batch has unless the settings say otherwise."""


@torch.no_grad()
def calibrate(
    network: QuantizedNetwork,
    images: Tensor,
    *,
    layer_means: Mapping[str, Tensor] | None = None,
    batch_size: int = BATCH_IMAGES,
) -> None:
    """Choose the network's weight scales and formats from images, batch by batch.

    The nodes are visited in order and each sees inputs that are already quantised, so that a
    format fits the values the integer model will really have.

    Args:
        network: The network; its `weight_scales` and `formats` are filled in.
        images: (images, channels, height, width) float32.
        layer_means: The float model's mean output per channel of every layer
            (`mean_outputs`); if given, biases are corrected towards them.
        batch_size: Images evaluated at once, and observed together.

    Raises:
        RunError: Some node's values are not finite, or its integers do not hold its scales.
    """
    batches = images.split(batch_size)
    values: dict[str, list[Tensor]] = {}
    for node in network.graph.nodes:
        inputs = [[values[name][i] for name in node.inputs] for i in range(len(batches))]
        if node.op in LAYER_OPERATIONS:
            weight_scales.choose(network, node, [x[0] for x in inputs])
        raw = [network.raw(node, x, b) for x, b in zip(inputs, batches, strict=True)]
        if layer_means is not None and node.op in LAYER_OPERATIONS:
            _correct_bias(network, node, raw, layer_means[node.name])
        if node.op not in SHAPE_OPERATIONS and "fused" not in node.attributes:
            network.formats[node.name] = _format(network, node, raw)
        for i, x in enumerate(inputs):
            raw[i] = _quantized(network, node, raw[i], x, batches[i])
        values[node.name] = raw
        for name in network._last_uses[node.name]:
            del values[name]


@torch.no_grad()
def mean_outputs(graph: Graph, images: Tensor, batch_size: int = BATCH_IMAGES) -> dict[str, Tensor]:
    """Return the mean output per channel of every layer of a float graph."""
    found: dict[str, list[Tensor]] = {}

    def keep(node: Node, result: Tensor) -> None:
        if node.op in LAYER_OPERATIONS:
            found.setdefault(node.name, []).append(_channel_mean(node, result))

    batches = images.split(batch_size)
    for batch in batches:
        run(graph, batch, hook=keep)
    return {name: _weighted(means, batches) for name, means in found.items()}


def _channel_mean(node: Node, result: Tensor) -> Tensor:
    channel = 1 if node.op == "conv2d" else result.dim() - 1
    return result.mean(dim=[d for d in range(result.dim()) if d != channel])


def _weighted(means: Sequence[Tensor], batches: Sequence[Tensor]) -> Tensor:
    """Return the mean over images of the batches' means."""
    total = sum(mean * len(batch) for mean, batch in zip(means, batches, strict=True))
    assert isinstance(total, Tensor)
    return total / sum(len(batch) for batch in batches)


def _correct_bias(
    network: QuantizedNetwork, node: Node, raw: Sequence[Tensor], wanted: Tensor
) -> None:
    """Move a layer's bias so that its mean output per channel is the float model's."""
    if "bias" not in node.parameters:
        return
    shift = wanted - _weighted([_channel_mean(node, r) for r in raw], raw)
    network.tensors[node.parameters["bias"]].add_(shift)
    for values in raw:
        values.add_(shift[:, None, None] if node.op == "conv2d" else shift)


def _format(network: QuantizedNetwork, node: Node, raw: Sequence[Tensor]) -> Format:
    if not all(math.isfinite(float(values.sum())) for values in raw):
        raise RunError(f"{node.name}: its values on the calibration images are not finite.")
    if node.op == "softmax":
        kind, bits = SOFTMAXES.get(node.attributes["kind"]), node.attributes["bits"]
        sample = [part for x in raw for part in (thinned(rows(x, None)), x.amax().reshape(1, 1))]
        return kind.format(bits, torch.cat(sample, dim=1))
    is_output = node is network.graph.logits
    return choose_format(node, raw, network.recipe, is_output=is_output)


def _quantized(
    network: QuantizedNetwork, node: Node, raw: Tensor, inputs: list[Tensor], images: Tensor
) -> Tensor:
    if node.op in SHAPE_OPERATIONS or "fused" in node.attributes:
        return raw
    if node.op == "activation" or "kind" in node.attributes:
        return network._twin(node, inputs, images)
    return network.formats[node.name].fake_quantize(raw)
