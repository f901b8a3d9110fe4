"""The layers of the package: every node that computes, with its engine and its memories."""

from collections.abc import Mapping, Sequence
from typing import Any

from codesign.export.package.fields import Layer
from codesign.graph.ir import SHAPE_OPERATIONS
from codesign.integer import replay
from codesign.integer.model import IntegerModel, IntegerNode
from costmodels.engines import Placement
from costmodels.workload import Workload

_OUTSIDE = SHAPE_OPERATIONS | {"input", "constant"}
OPERATIONS = tuple(sorted(set(replay.OPERATIONS) - _OUTSIDE))
"""The operations there are, those that only move codes left out."""


def layers(
    model: IntegerModel,
    workload: Workload,
    placements: Sequence[Placement],
    memories: Sequence[Mapping[str, Any]],
    identifiers: Mapping[str, str],
) -> list[Layer]:
    """Return the layers in the order of the schedule.

    Args:
        model: The integer model.
        workload: What it asks of hardware.
        placements: The matrix products on their engines.
        memories: The index of its memories.
        identifiers: Path of a memory to its identifier.
    """
    nodes = {node.name: node for node in model.nodes}
    computing = [node for node in model.nodes if node.op not in _OUTSIDE]
    index = {node.name: place for place, node in enumerate(computing)}
    vector = {work.name: work for work in workload.vector_operations if work.name in nodes}
    fused = {v.fused_into: index[v.name] for v in vector.values() if v.fused_into is not None}
    placed = {placement.layer.name: placement for placement in placements}
    roles: dict[str, dict[str, str]] = {}
    for entry in memories:
        roles.setdefault(entry["layer"], {})[entry["role"]] = identifiers[entry["path"]]
    return [
        Layer(
            node=node,
            sources=tuple(nodes[name] for name in node.inputs),
            placement=placed.get(node.name),
            vector=vector.get(node.name),
            fused_layer=fused.get(node.name, 0),
            kernel=_kernel(model, node),
            memories={**roles.get(node.name, {}), **_constant(node, nodes, roles)},
        )
        for node in computing
    ]


def _kernel(model: IntegerModel, node: IntegerNode) -> tuple[int, ...]:
    if node.op == "conv2d":
        return model.tensors[node.tensors["weight"]].shape[2:]
    return tuple(node.attributes.get("kernel", ()))


def _constant(
    node: IntegerNode, nodes: Mapping[str, IntegerNode], roles: Mapping[str, dict[str, str]]
) -> dict[str, str]:
    """Return the memory of an operand that is a constant, however moved."""
    for source in (nodes[name] for name in node.inputs):
        while source.op in SHAPE_OPERATIONS:
            source = nodes[source.inputs[0]]
        if source.op == "constant":
            return {"value": roles[source.name]["value"]}
    return {}
