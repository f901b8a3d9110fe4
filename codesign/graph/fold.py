"""Rewrites of a captured graph that keep its float function."""

from dataclasses import replace

import torch

from codesign.errors import UserError
from codesign.graph.ir import Graph, Node


def fold_batch_norm(graph: Graph) -> Graph:
    """Fold every batch norm (in inference form) into the convolution or linear before it.

    Raises:
        UserError: A batch norm does not directly follow a layer that only it reads.
    """
    tensors = dict(graph.tensors)
    readers = graph.consumers()
    renamed: dict[str, str] = {}
    nodes: dict[str, Node] = {}
    for node in graph.nodes:
        node = replace(node, inputs=tuple(renamed.get(name, name) for name in node.inputs))
        if node.op != "batch_norm":
            nodes[node.name] = node
            continue
        layer = nodes[node.inputs[0]]
        if layer.op not in ("conv2d", "linear") or len(readers[layer.name]) != 1:
            raise UserError(
                f"model '{graph.name}': batch norm {node.name} does not follow a layer of its own"
                " and has no integer form yet."
            )
        nodes[layer.name] = _fold(layer, node, tensors)
        renamed[node.name] = layer.name
    last = graph.output.name
    ordered = list(nodes.values())
    if last in renamed:
        ordered.append(ordered.pop([n.name for n in ordered].index(renamed[last])))
    return replace(graph, tensors=tensors).with_nodes(ordered)


def _fold(layer: Node, norm: Node, tensors: dict[str, torch.Tensor]) -> Node:
    """Scale the layer's weights and set its bias so that it computes layer and norm."""
    weight_name = layer.parameters["weight"]
    weight = tensors[weight_name]
    mean, variance = (tensors[norm.parameters[r]] for r in ("running_mean", "running_var"))
    ones = torch.ones_like(mean)
    gamma = tensors[norm.parameters["weight"]] if "weight" in norm.parameters else ones
    beta = tensors[norm.parameters["bias"]] if "bias" in norm.parameters else 0 * ones
    factor = gamma / torch.sqrt(variance + norm.attributes["epsilon"])
    bias = tensors[layer.parameters["bias"]] if "bias" in layer.parameters else 0 * ones
    tensors[weight_name] = weight * factor.reshape(-1, *[1] * (weight.dim() - 1))
    bias_name = layer.parameters.get("bias", f"{layer.name}.bias")
    tensors[bias_name] = (bias - mean) * factor + beta
    return replace(layer, parameters={"weight": weight_name, "bias": bias_name})


def remove_dead_nodes(graph: Graph) -> Graph:
    """Drop the nodes that the output does not depend on."""
    wanted = {graph.output.name, graph.nodes[0].name}
    for node in reversed(graph.nodes):
        if node.name in wanted:
            wanted.update(node.inputs)
    return graph.with_nodes([node for node in graph.nodes if node.name in wanted])
