"""The captured network: a flat list of nodes over a few operations, and its parameters.

Sizes that grow with the batch are written "k*B": 4 * batch is "4*B". All else is a plain int.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch

Dim = int | str
Shape = tuple[Dim, ...]

SHAPE_OPERATIONS = frozenset({"reshape", "permute", "slice", "select", "expand", "gather", "pad"})
"""Operations that move values without computing: codes pass through them unchanged. A pad adds the
code of zero."""

LAYER_OPERATIONS = frozenset({"conv2d", "linear"})
"""Operations with weights: the layers whose number formats are searched."""


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
        name: Unique; for layers and activations it is the timm module path.
        op: One of the operations of `codesign.graph.execute`.
        inputs: Names of the nodes it reads.
        shape: Shape of its result.
        attributes: JSON-able settings of the operation (stride, dimension, function, ...).
        parameters: Role ("weight", "bias", ...) to the name of a tensor of the graph.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    shape: Shape
    attributes: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """A network in execution order.

    Attributes:
        name: The model's name.
        nodes: The nodes; the first is the input, the last the output.
        tensors: Parameters by their timm name, float32.
    """

    name: str
    nodes: tuple[Node, ...]
    tensors: Mapping[str, torch.Tensor]

    def __getitem__(self, name: str) -> Node:
        return self._index[name]

    @cached_property
    def _index(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    @property
    def by_name(self) -> dict[str, Node]:
        """Nodes by name."""
        return dict(self._index)

    @property
    def output(self) -> Node:
        """The node that gives the logits."""
        return self.nodes[-1]

    @cached_property
    def logits(self) -> Node:
        """The node that computes the logits: the output, seen through operations that only move.

        The output itself where anything else reads what it moves.
        """
        readers, node = self.consumers(), self.output
        while node.op in SHAPE_OPERATIONS:
            node = self[node.inputs[0]]
            if len(readers[node.name]) != 1:
                return self.output
        return node

    @property
    def layers(self) -> list[Node]:
        """Nodes with weights, in order."""
        return [node for node in self.nodes if node.op in LAYER_OPERATIONS]

    def consumers(self) -> dict[str, list[Node]]:
        """Return, for every node, the nodes that read it, in order."""
        readers: dict[str, list[Node]] = {node.name: [] for node in self.nodes}
        for node in self.nodes:
            for source in dict.fromkeys(node.inputs):
                readers[source].append(node)
        return readers

    def with_nodes(self, nodes: Sequence[Node]) -> "Graph":
        """Return the graph with other nodes and only the tensors they use."""
        used = {name for node in nodes for name in node.parameters.values()}
        return replace(
            self,
            nodes=tuple(nodes),
            tensors={name: value for name, value in self.tensors.items() if name in used},
        )

    def to_json(self) -> dict[str, Any]:
        """Return everything but the tensors as JSON-able values."""
        return {
            "name": self.name,
            "nodes": [
                {
                    "name": node.name,
                    "op": node.op,
                    "inputs": list(node.inputs),
                    "shape": list(node.shape),
                    "attributes": dict(node.attributes),
                    "parameters": dict(node.parameters),
                }
                for node in self.nodes
            ],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> "Graph":
        """Rebuild a graph from `to_json`'s values and its tensors."""
        nodes = tuple(
            Node(
                name=n["name"],
                op=n["op"],
                inputs=tuple(n["inputs"]),
                shape=tuple(n["shape"]),
                attributes=n["attributes"],
                parameters=n["parameters"],
            )
            for n in value["nodes"]
        )
        return cls(value["name"], nodes, dict(tensors))

    def save(self) -> bytes:
        """Return the graph as the bytes of a safetensors file (structure in its metadata)."""
        from safetensors.torch import save

        contiguous = {name: tensor.contiguous() for name, tensor in self.tensors.items()}
        return save(contiguous, metadata={"graph": json.dumps(self.to_json())})

    @classmethod
    def load(cls, path: str) -> "Graph":
        """Read a graph that `save` wrote to a file."""
        from safetensors import safe_open

        with safe_open(path, framework="pt") as file:
            value = json.loads(file.metadata()["graph"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return cls.from_json(value, tensors)


def resolve(shape: Sequence[Dim], batch: int) -> list[int]:
    """Return the sizes of a shape for a batch size."""
    return [dim if isinstance(dim, int) else int(dim[:-2]) * batch for dim in shape]


def elements(shape: Sequence[Dim]) -> int:
    """Return the number of elements for a batch of one."""
    return math.prod(resolve(shape, 1))


def unique(name: str, taken: Mapping[str, Any]) -> str:
    """Return `name`, or `name#2`, `name#3`, ... if it is taken."""
    if name not in taken:
        return name
    return next(c for c in (f"{name}#{i}" for i in _from(2)) if c not in taken)


def _from(start: int) -> Iterator[int]:
    while True:
        yield start
        start += 1
