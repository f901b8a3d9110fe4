"""Blocks: the pieces of a network between points that everything passes through.

A residual block is one by itself, because its shortcut jumps over every point inside it. Single
layers of a chain are merged to blocks of a few layers.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from codesign.graph.ir import LAYER_OPERATIONS, Graph, Node

MOST_LAYERS = 4
"""Blocks are merged up to this many layers with weights; one that has more is left whole."""


@dataclass(frozen=True)
class Block:
    """A piece of a graph with one value in and one value out.

    Attributes:
        source: Node whose value enters.
        nodes: What computes the block's output from it, in order, the constants it uses included.
    """

    source: str
    nodes: tuple[Node, ...]

    @property
    def output(self) -> str:
        """Node whose value leaves."""
        return self.nodes[-1].name

    @property
    def layers(self) -> list[Node]:
        """Nodes with weights, in order."""
        return [node for node in self.nodes if node.op in LAYER_OPERATIONS]


def blocks(graph: Graph) -> list[Block]:
    """Return the blocks of a planned graph, in order; together they are the network."""
    varying = _varying(graph)
    pieces = _merged(_pieces(graph, varying))
    found, source = [], graph.nodes[0].name
    for piece in pieces:
        found.append(Block(source, _with_constants(graph, piece, varying)))
        source = piece[-1].name
    return found


def run_block(
    block: Block, source: Tensor, compute: Callable[[Node, list[Tensor]], Tensor]
) -> Tensor:
    """Return a block's output for the value that enters it.

    Args:
        block: The block.
        source: (batch, ...) what enters.
        compute: Returns a node's result for its inputs.
    """
    values = {block.source: source}
    last = {name: node.name for node in block.nodes for name in node.inputs}
    for node in block.nodes:
        values[node.name] = compute(node, [values[name] for name in node.inputs])
        for name in set(node.inputs):
            if last[name] == node.name:
                del values[name]
    return values[block.output]


def _varying(graph: Graph) -> set[str]:
    """Return the nodes that depend on the image."""
    found = {graph.nodes[0].name}
    for node in graph.nodes:
        if found.intersection(node.inputs):
            found.add(node.name)
    return found


def _pieces(graph: Graph, varying: set[str]) -> Iterator[list[Node]]:
    """Yield runs of nodes that end where one quantised value, a row an image, is all there is."""
    nodes = [node for node in graph.nodes if node.name in varying]
    readers = graph.consumers()
    last = {name: i for i, node in enumerate(nodes) for name in node.inputs}
    piece: list[Node] = []
    reach = 0  # the last reader of anything but the present node's own value
    for i, node in enumerate(nodes):
        if i:
            piece.append(node)
        if piece and reach <= i and _may_end(node, readers[node.name]):
            yield piece
            piece = []
        reach = max(reach, last.get(node.name, 0))
    if piece:
        yield piece


def _may_end(node: Node, readers: Sequence[Node]) -> bool:
    inside = len(readers) == 1 and readers[0].op in ("activation", "affine")
    return node.shape[0] == "1*B" and "fused" not in node.attributes and not inside


def _merged(pieces: Iterator[list[Node]]) -> list[list[Node]]:
    merged: list[list[Node]] = []
    for piece in pieces:
        if merged and _belong(_layers(merged[-1]), _layers(piece)):
            merged[-1] += piece
        else:
            merged.append(piece)
    return merged


def _belong(before: int, after: int) -> bool:
    """Return whether pieces of so many layers are one block."""
    return not (before and after) or before + after <= MOST_LAYERS


def _layers(piece: Sequence[Node]) -> int:
    return sum(node.op in LAYER_OPERATIONS for node in piece)


def _with_constants(graph: Graph, piece: Sequence[Node], varying: set[str]) -> tuple[Node, ...]:
    """Return the nodes of a piece and the constant ones they use, in the graph's order."""
    by_name: Mapping[str, Node] = graph.by_name
    wanted = {node.name for node in piece}
    stack = [name for node in piece for name in node.inputs if name not in varying]
    while stack:
        name = stack.pop()
        if name not in wanted:
            wanted.add(name)
            stack += by_name[name].inputs
    return tuple(node for node in graph.nodes if node.name in wanted)
