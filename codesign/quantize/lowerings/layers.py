"""Lowering of layers with weights and of products of activations."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from codesign.graph.ir import Node, resolve
from codesign.numerics.fixed_point import dyadic
from codesign.numerics.weights import WeightScheme
from codesign.numerics.weights.mixed import Mixed
from codesign.quantize.lowerings.base import Lowering, largest_shift, lowers, narrowest, scalar
from codesign.quantize.lowerings.rows import row_bound

MAX_BIAS = 2**29
"""Biases are kept below this; a channel whose weights are almost zero gets a coarser scale."""
_GEOMETRY = ("stride", "padding", "dilation", "groups")


@lowers("conv2d", "linear")
def _layer(b: Lowering, node: Node) -> None:
    network, source, target = b.network, b.format(node.inputs[0]), b.target(node)
    layer = network.layers[node.name]
    weight = network.tensors[node.parameters["weight"]].detach().cpu()
    scale = network.weight_scale(node.name).detach().cpu().double()
    bias = torch.zeros(len(weight), dtype=torch.float64)
    if "bias" in node.parameters:
        bias = network.tensors[node.parameters["bias"]].detach().cpu().double()
    least = bias.abs() / (source.scale * MAX_BIAS)
    if network.recipe.scales == "power_of_two":
        least = torch.exp2(torch.ceil(torch.log2(least)))
    scale = torch.maximum(scale, least).float()
    scheme = network.scheme(node.name)
    # In float32, as the twin divides: scales are such that the largest weight is often a tie.
    codes = scheme.integer(weight, scale, layer.weight_bits).numpy().astype(np.int64)
    accumulator_scale = source.scale * scale.double().numpy()
    offset = np.floor(bias.numpy() / accumulator_scale + 0.5).astype(np.int64)
    magnitudes = np.abs(codes).reshape(len(codes), -1).sum(axis=1)
    bound = int((magnitudes * source.magnitude + np.abs(offset)).max())
    b.prove(node, bound)
    multiplier, shift = dyadic(accumulator_scale / target.scale, largest_shift(target))
    attributes = {
        **{k: v for k, v in node.attributes.items() if k in _GEOMETRY},
        "weight_bits": layer.weight_bits,
        "weight_scheme": layer.weight_scheme,
        **_choices(scheme, codes),
        "accumulator_bound": bound,
    }
    tensors = {
        "weight": narrowest(codes),
        "bias": offset.astype(np.int32),
        "multiplier": multiplier.astype(np.int32),
        "shift": shift.astype(np.int8),
    }
    b.add(node, target, attributes, tensors)


def _choices(scheme: WeightScheme, codes: NDArray[np.int64]) -> dict[str, Any]:
    """Return which channels are log2, of mixed weights, and the share of zeros, of pruned ones."""
    if isinstance(scheme, Mixed) and scheme.log2_channels is not None:
        return {"log2_channels": torch.nonzero(scheme.log2_channels)[:, 0].tolist()}
    if scheme.learned:
        return {"weight_sparsity": round(float((codes == 0).mean()), 6)}
    return {}


@lowers("matmul")
def _matmul(b: Lowering, node: Node) -> None:
    left, right = (b.format(name) for name in node.inputs)
    target = b.target(node)
    length = resolve(b.network.graph[node.inputs[0]].shape, 1)[-1]
    bound = length * left.magnitude * right.magnitude
    for name, axis, other in ((node.inputs[0], -1, right), (node.inputs[1], -2, left)):
        row = row_bound(b, name, axis)
        bound = bound if row is None else min(bound, row * other.magnitude)
    b.prove(node, bound)
    ratio = left.scale * right.scale * node.attributes["factor"] / target.scale
    b.add(node, target, {**scalar(ratio, target), "accumulator_bound": bound}, {})
