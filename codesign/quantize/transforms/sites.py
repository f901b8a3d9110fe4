"""Where transforms apply, and what they share: statistics of channels and neutral nodes."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace

import torch
from torch import Tensor

from codesign.graph.execute import run
from codesign.graph.ir import LAYER_OPERATIONS, Graph, Node, resolve
from codesign.quantize.channels import Arrival, arrivals

BATCH_IMAGES = 32
_HOMOGENEOUS = frozenset({"relu"})
"""Activations f with f(k x) = k f(x) for k > 0."""


class Owners:
    """Which tensors belong to one node alone, and may therefore be changed through it."""

    def __init__(self, graph: Graph) -> None:
        self.uses = Counter(name for node in graph.nodes for name in node.parameters.values())

    def __call__(self, node: Node) -> bool:
        """Return whether no other node (and no other role) uses the node's tensors."""
        return all(self.uses[name] == 1 for name in node.parameters.values())


def channel_axis(layer: Node) -> int:
    """Return the axis of a layer's input and output channels, counted from the last."""
    return -3 if layer.op == "conv2d" else -1


def is_depthwise(graph: Graph, node: Node) -> bool:
    """Return whether a node is a convolution of each input channel by itself."""
    if node.op != "conv2d":
        return False
    groups = node.attributes["groups"]
    return groups > 1 and graph.tensors[node.parameters["weight"]].shape[1] == 1


def is_pointwise(graph: Graph, node: Node) -> bool:
    """Return whether a node mixes channels of one position only, no padding."""
    if node.op == "linear":
        return True
    if node.op != "conv2d" or node.attributes["groups"] != 1:
        return False
    kernel = graph.tensors[node.parameters["weight"]].shape[2:]
    return tuple(kernel) == (1, 1) and not any(node.attributes["padding"])


def homogeneous_producer(graph: Graph, layer: Node, owned: Owners) -> Node | None:
    """Return the layer whose output channels may be scaled in place of this layer's input.

    Between them there is nothing, or a ReLU, and nobody else reads what is scaled.
    """
    readers = graph.consumers()
    source = graph[layer.inputs[0]]
    if len(readers[source.name]) != 1:
        return None
    if source.op == "activation" and source.attributes["function"] in _HOMOGENEOUS:
        source = graph[source.inputs[0]]
    alone = len(readers[source.name]) == 1
    return source if source.op in LAYER_OPERATIONS and alone and owned(source) else None


def own_affine(graph: Graph, layer: Node) -> Node | None:
    """Return the affine node in front of a layer if only that layer reads it."""
    source = graph[layer.inputs[0]]
    alone = len(graph.consumers()[source.name]) == 1
    fits = source.op == "affine" and source.attributes["axis"] == channel_axis(layer)
    return source if fits and alone and Owners(graph)(source) else None


def with_affine(graph: Graph, layers: Iterable[str]) -> Graph:
    """Return the graph with a neutral affine node in front of each of the layers."""
    wanted, nodes, tensors = set(layers), [], dict(graph.tensors)
    for node in graph.nodes:
        if node.name in wanted and own_affine(graph, node) is None:
            affine = _neutral_affine(graph, node, tensors)
            nodes.append(affine)
            node = replace(node, inputs=(affine.name, *node.inputs[1:]))
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes), tensors=tensors)


def _neutral_affine(graph: Graph, layer: Node, tensors: dict[str, Tensor]) -> Node:
    source, axis, name = graph[layer.inputs[0]], channel_axis(layer), f"{layer.name}.affine"
    like = graph.tensors[layer.parameters["weight"]]
    size = resolve(source.shape, 1)[axis]
    roles = {"scale": like.new_ones(size), "offset": like.new_zeros(size)}
    tensors.update({f"{name}.{role}": value for role, value in roles.items()})
    parameters = {role: f"{name}.{role}" for role in roles}
    return Node(name, "affine", (source.name,), source.shape, {"axis": axis}, parameters)


def with_parameters(graph: Graph, roles: dict[str, tuple[str, ...]]) -> Graph:
    """Return the graph with neutral tensors where nodes lack them.

    Args:
        graph: The graph.
        roles: Node name to the roles it needs: "bias" (zeros), or "weight" of a LayerNorm (ones).
    """
    if not roles:
        return graph
    nodes, tensors = [], dict(graph.tensors)
    like = tensors[graph.layers[0].parameters["weight"]]
    for node in graph.nodes:
        for role in roles.get(node.name, ()):
            if role not in node.parameters:
                size = resolve(node.shape, 1)[channel_axis(node)]
                key = f"{node.name}.{role}"
                tensors[key] = like.new_full((size,), 1.0 if role == "weight" else 0.0)
                node = replace(node, parameters={**node.parameters, role: key})
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes), tensors=tensors)


def norm_sites(graph: Graph) -> dict[str, list[Arrival]]:
    """Return the LayerNorms that only pointwise layers read, with how channels reach those.

    The network's last layer is no such reader. Tensors shared with other nodes rule a site out.
    """
    readers, owned = graph.consumers(), Owners(graph)
    last = graph.layers[-1].name if graph.layers else ""
    sites: dict[str, list[Arrival]] = {}
    for node in graph.nodes:
        if node.op != "layer_norm" or not owned(node):
            continue
        found = arrivals(node, readers, -1)
        if found and all(_feeds(graph, a, owned) and a.reader.name != last for a in found):
            sites[node.name] = found
    return sites


def _feeds(graph: Graph, arrival: Arrival, owned: Owners) -> bool:
    layer = arrival.reader
    fits = layer.op in LAYER_OPERATIONS and arrival.channels.axis == channel_axis(layer)
    return fits and is_pointwise(graph, layer) and owned(layer)


@torch.no_grad()
def watch(graph: Graph, images: Tensor, visits: dict[str, Callable[[Tensor], None]]) -> None:
    """Run the float graph batch by batch and show the named nodes' results."""

    def show(node: Node, result: Tensor) -> None:
        if node.name in visits:
            visits[node.name](result)

    for batch in images.split(BATCH_IMAGES):
        run(graph, batch, hook=show)


def columns(weight: Tensor, factor: Tensor) -> Tensor:
    """Return a layer's weight with its input channels multiplied by factors."""
    return weight * factor.reshape(1, -1, *[1] * (weight.dim() - 2))


def rows_scaled(weight: Tensor, factor: Tensor) -> Tensor:
    """Return a layer's weight with its output channels multiplied by factors."""
    return weight * factor.reshape(-1, *[1] * (weight.dim() - 1))


def offset_response(weight: Tensor, offset: Tensor) -> Tensor:
    """Return what a pointwise layer adds to its outputs for an offset of its input channels."""
    return weight.flatten(1) @ offset
