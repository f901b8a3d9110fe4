"""What of a captured network can be searched: its layers, activations and stages."""

from collections.abc import Mapping

from codesign.design import ActivationSite, LayerInfo, NetworkOutline
from codesign.graph.ir import SHAPE_OPERATIONS, Graph, Node, elements

_MOVES = SHAPE_OPERATIONS | {"concat", "pad", "gather"}


def outline(graph: Graph) -> NetworkOutline:
    """Return the layers and activations of a graph, in order."""
    layers = tuple(
        LayerInfo(
            name=node.name,
            kind=layer_kind(graph, node),
            stage=stage(node.name),
            weight_elements=graph.tensors[node.parameters["weight"]].numel(),
            macs=macs(graph, node),
        )
        for node in graph.layers
    )
    readers = graph.consumers()
    sites = tuple(
        ActivationSite(
            node.name,
            stage(node.name),
            node.attributes["function"],
            _multiplied(node, readers),
        )
        for node in graph.nodes
        if node.op == "activation"
    )
    softmaxes = sum(node.op == "softmax" for node in graph.nodes)
    return NetworkOutline(layers, sites, softmaxes)


def _multiplied(node: Node, readers: Mapping[str, list[Node]]) -> bool:
    """Return whether a matrix product of activations reads a node, perhaps moved first."""
    return any(
        reader.op == "matmul" or (reader.op in _MOVES and _multiplied(reader, readers))
        for reader in readers[node.name]
    )


def stage(name: str) -> str:
    """Return the stage of a module path: its first part, with the number that may follow it."""
    parts = name.split(".")
    return ".".join(parts[:2]) if len(parts) > 1 and parts[1].isdigit() else parts[0]


def layer_kind(graph: Graph, node: Node) -> str:
    """Return "conv", "depthwise" (one input channel a group) or "linear"."""
    if node.op == "linear":
        return "linear"
    groups = node.attributes["groups"]
    single = graph.tensors[node.parameters["weight"]].shape[1] == 1
    return "depthwise" if groups > 1 and single else "conv"


def macs(graph: Graph, node: Node) -> int:
    """Return the multiply-accumulates of a layer for one image."""
    weight = graph.tensors[node.parameters["weight"]]
    return elements(node.shape) * weight[0].numel()
