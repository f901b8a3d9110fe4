"""Rewrites of a captured graph that keep its float function: norms and factors go into layers."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from codesign.graph.fold_affine import fold_affine
from codesign.graph.ir import Graph, Node, unique


def fold_batch_norm(graph: Graph) -> Graph:
    """Turn every batch norm (in inference form) into an affine operation, and fold what can be."""
    tensors = dict(graph.tensors)
    nodes = [_as_affine(n, tensors) if n.op == "batch_norm" else n for n in graph.nodes]
    return fold_affine(replace(graph, tensors=tensors).with_nodes(nodes))


def _as_affine(norm: Node, tensors: dict[str, Tensor]) -> Node:
    mean, variance = (tensors[norm.parameters[r]].double() for r in ("running_mean", "running_var"))
    gamma = _or(tensors, norm, "weight", torch.ones_like(mean))
    beta = _or(tensors, norm, "bias", torch.zeros_like(mean))
    factor = gamma / torch.sqrt(variance + norm.attributes["epsilon"])
    parameters = {}
    for role, value in (("scale", factor), ("offset", beta - mean * factor)):
        parameters[role] = unique(f"{norm.name}.{role}", tensors)
        tensors[parameters[role]] = value.float()
    axis = 1 - len(norm.shape)
    return replace(norm, op="affine", attributes={"axis": axis}, parameters=parameters)


def _or(tensors: Mapping[str, Tensor], node: Node, role: str, otherwise: Tensor) -> Tensor:
    name = node.parameters.get(role)
    return tensors[name].double() if name is not None else otherwise


def remove_dead_nodes(graph: Graph) -> Graph:
    """Drop the nodes that the output does not depend on."""
    wanted = {graph.output.name, graph.nodes[0].name}
    for node in reversed(graph.nodes):
        if node.name in wanted:
            wanted.update(node.inputs)
    return graph.with_nodes([node for node in graph.nodes if node.name in wanted])
