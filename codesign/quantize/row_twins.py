"""Twins of softmax, LayerNorm and division, whose arithmetic is a choice ("kind")."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from codesign.graph.ir import Node
from codesign.numerics.division import DIVISIONS
from codesign.numerics.layer_norm import LAYER_NORMS
from codesign.numerics.softmax import SOFTMAXES

if TYPE_CHECKING:
    from codesign.quantize.network import QuantizedNetwork


def row_twin(network: "QuantizedNetwork", node: Node, inputs: Sequence[Tensor]) -> Tensor | None:
    """Return a node's result as its kind of arithmetic rounds it, or None for other nodes.

    Args:
        network: The network; the formats of the node and of its inputs are known.
        node: A node of its graph that is not fused with an activation.
        inputs: Values of the inputs' codes.
    """
    kind, formats = node.attributes.get("kind"), network.formats
    if node.op == "softmax" and kind:
        source = network.source_format(node.inputs[0])
        return SOFTMAXES.get(kind).twin(inputs[0], source, formats[node.name])
    if node.op == "layer_norm" and kind:
        source = network.source_format(node.inputs[0])
        gamma, beta = (
            network.tensors[node.parameters[role]] if role in node.parameters else None
            for role in ("weight", "bias")
        )
        epsilon = node.attributes["epsilon"]
        norm = LAYER_NORMS.get(kind)
        return norm.twin(inputs[0], gamma, beta, epsilon, source, formats[node.name])
    if node.op == "divide":
        pair = network.source_format(node.inputs[0]), network.source_format(node.inputs[1])
        division = DIVISIONS.get(kind or "exact")
        epsilon = node.attributes["epsilon"]
        return division.twin(inputs[0], inputs[1], epsilon, pair, formats[node.name])
    return None


def quotient(network: "QuantizedNetwork", node: Node, inputs: Sequence[Tensor]) -> Tensor:
    """Return a division's real quotients, guarded as its integer form is."""
    step = network.source_format(node.inputs[1]).scale
    division = DIVISIONS.get(node.attributes.get("kind", "exact"))
    return division.real(inputs[0], inputs[1], node.attributes["epsilon"], step)
