"""The scale of every layer's weights, and whatever else its scheme decides once.

With free scales a scheme's own search takes the least squared error of the weights. With
power-of-two scales the rounding is that of P2-ViT (Shi et al., arXiv 2405.19915, "adaptive
power-of-two rounding"): of four candidates around the scale that the largest weight asks for, the
one with the least squared error of the layer's output; one scale a layer at 8 bits, one a channel
below.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from codesign.graph.execute import compute
from codesign.graph.ir import Node
from codesign.numerics.weights import WeightScheme, scheme_of
from codesign.numerics.weights.interval import Interval
from codesign.quantize.network import QuantizedNetwork

_WHOLE_LAYER_BITS = 8


@torch.no_grad()
def choose(network: QuantizedNetwork, node: Node, inputs: Sequence[Tensor]) -> Tensor:
    """Choose a layer's weight scales, (out_channels,) float32, and file them in the network.

    Args:
        network: The network; its `schemes`, `weight_scales` and `alphas` take this layer's.
        node: The layer.
        inputs: What the layer reads on the calibration images, quantised, batch by batch.

    Returns:
        The scales. A scheme that learns its interval has its alpha in `network.alphas`, unless
        scales are powers of two: those stay as they are chosen.
    """
    layer = network.layers[node.name]
    weight, bits = network.tensors[node.parameters["weight"]].detach(), layer.weight_bits
    scheme = scheme_of(layer).fitted(weight, bits, layer.weight_option)
    network.schemes[node.name] = scheme
    network.alphas.pop(node.name, None)
    if network.recipe.scales == "power_of_two":
        scale = _power_of_two(node, weight, scheme, bits, inputs)
    elif isinstance(scheme, Interval):
        alpha = scheme.search_alpha(weight, bits)
        network.alphas[node.name] = alpha.clone().requires_grad_(True)
        scale = scheme.scale_of(alpha, weight, bits).contiguous()
    else:
        scale = scheme.search_scale(weight, bits)
    network.weight_scales[node.name] = scale
    return scale


def _power_of_two(
    node: Node, weight: Tensor, scheme: WeightScheme, bits: int, inputs: Sequence[Tensor]
) -> Tensor:
    """Return the candidate with the least error of the output, per layer or per channel."""
    whole = bits >= _WHOLE_LAYER_BITS or scheme.learned
    best = torch.full((len(weight),), float("inf"), device=weight.device)
    scale = torch.ones_like(best)
    for candidate in _candidates(weight, scheme, bits, whole):
        change = scheme.twin(weight, candidate, bits) - weight
        error = _channel_errors(node, change, inputs)
        error = error.sum().expand_as(error) if whole else error
        scale = torch.where(error < best, candidate, scale)
        best = torch.minimum(best, error)
    return scale


def _candidates(weight: Tensor, scheme: WeightScheme, bits: int, whole: bool) -> Iterator[Tensor]:
    """Yield 2**(f - 1) to 2**(f + 2), f = floor(log2(peak / largest level))."""
    peak = weight.reshape(len(weight), -1).abs().amax(dim=1).clamp(min=1e-8)
    exact = peak / scheme.limits(bits)
    exact = exact.max().expand_as(exact) if whole else exact
    floor = torch.frexp(exact)[1] - 1
    for step in (-1, 0, 1, 2):
        yield torch.ldexp(torch.ones_like(exact), floor + step)


def _channel_errors(node: Node, change: Tensor, inputs: Sequence[Tensor]) -> Tensor:
    """Return the squared error of each output channel that a change of the weights makes."""
    total = torch.zeros(len(change), device=change.device)
    for x in inputs:
        output = compute(node, [x], {"weight": change})
        channel = 1 if node.op == "conv2d" else output.dim() - 1
        total += output.square().sum(dim=[d for d in range(output.dim()) if d != channel])
    return total
