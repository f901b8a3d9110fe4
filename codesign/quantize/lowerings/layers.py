"""Lowering of layers with weights and of products of activations."""

import numpy as np
import torch

from codesign.graph.ir import Node, resolve
from codesign.numerics.fixed_point import dyadic
from codesign.numerics.weights import SCHEMES
from codesign.quantize.lowerings.base import Lowering, lowers, narrowest, scalar

MAX_BIAS = 2**29
"""Biases are kept below this; a channel whose weights are almost zero gets a coarser scale."""
_GEOMETRY = ("stride", "padding", "dilation", "groups")


@lowers("conv2d", "linear")
def _layer(b: Lowering, node: Node) -> None:
    network, source, target = b.network, b.format(node.inputs[0]), b.target(node)
    layer = network.layers[node.name]
    weight = network.tensors[node.parameters["weight"]].detach().cpu()
    scale = network.weight_scales[node.name].cpu().double()
    bias = torch.zeros(len(weight), dtype=torch.float64)
    if "bias" in node.parameters:
        bias = network.tensors[node.parameters["bias"]].detach().cpu().double()
    scale = torch.maximum(scale, bias.abs() / (source.scale * MAX_BIAS)).float()
    scheme = SCHEMES.get(layer.weight_scheme)
    # In float32, as the twin divides: scales are such that the largest weight is often a tie.
    codes = scheme.integer(weight, scale, layer.weight_bits).numpy().astype(np.int64)
    accumulator_scale = source.scale * scale.double().numpy()
    offset = np.floor(bias.numpy() / accumulator_scale + 0.5).astype(np.int64)
    magnitudes = np.abs(codes).reshape(len(codes), -1).sum(axis=1)
    bound = int((magnitudes * source.magnitude + np.abs(offset)).max())
    b.prove(node, bound)
    multiplier, shift = dyadic(accumulator_scale / target.scale)
    attributes = {
        **{k: v for k, v in node.attributes.items() if k in _GEOMETRY},
        "weight_bits": layer.weight_bits,
        "weight_scheme": layer.weight_scheme,
        "accumulator_bound": bound,
    }
    tensors = {
        "weight": narrowest(codes),
        "bias": offset.astype(np.int32),
        "multiplier": multiplier.astype(np.int32),
        "shift": shift.astype(np.int8),
    }
    b.add(node, target, attributes, tensors)


@lowers("matmul")
def _matmul(b: Lowering, node: Node) -> None:
    left, right = (b.format(name) for name in node.inputs)
    target = b.target(node)
    length = resolve(b.network.graph[node.inputs[0]].shape, 1)[-1]
    bound = length * left.magnitude * right.magnitude
    b.prove(node, bound)
    ratio = left.scale * right.scale * node.attributes["factor"] / target.scale
    b.add(node, target, {**scalar(ratio), "accumulator_bound": bound}, {})
