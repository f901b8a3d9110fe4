"""Channels followed through the operations that move values.

A tensor's channels lie along one of its axes. Behind a reshape, a permute, a slice they lie along
another, some are repeated, some are gone; or there is no such axis any more.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from codesign.graph.execute import move
from codesign.graph.ir import SHAPE_OPERATIONS, Node, Shape, resolve
from codesign.numerics.fixed_point import Format

Readers = Mapping[str, list[Node]]


@dataclass(frozen=True)
class Channels:
    """Where the channels of a tensor lie.

    Attributes:
        index: For each place along the axis the channel of the original tensor, (places,) int.
        axis: The axis, counted from the last (-1, -2, ...).
    """

    index: Tensor
    axis: int

    @classmethod
    def of(cls, node: Node, axis: int) -> "Channels":
        """Return the channels of a node's own result along one of its axes."""
        return cls(torch.arange(resolve(node.shape, 1)[axis], dtype=torch.int32), axis)

    def moved(self, node: Node, source: Shape) -> "Channels | None":
        """Return where a shape operation takes the channels; None if along no single axis.

        Args:
            node: The shape operation.
            source: Shape of what it reads.
        """
        wide = self.index.reshape(-1, *[1] * (-1 - self.axis))
        result = move(node, wide.expand(resolve(source, 1)), 1)
        for axis in range(-1, -result.dim(), -1):
            lines = result.movedim(axis, -1).reshape(-1, result.shape[axis])
            if bool((lines == lines[0]).all()):
                return Channels(lines[0].clone(), axis)
        return None


@dataclass(frozen=True)
class Arrival:
    """A node that computes, and how another node's channels reach it.

    Attributes:
        reader: The node that computes.
        source: The name under which it reads them: the node itself or the last shape operation.
        channels: Where they lie in what it reads.
    """

    reader: Node
    source: str
    channels: Channels


def computing_readers(readers: Readers, name: str) -> list[Node]:
    """Return the nodes that compute with a node's values, shape operations skipped."""
    found: list[Node] = []
    for reader in readers[name]:
        moves = reader.op in SHAPE_OPERATIONS
        found += computing_readers(readers, reader.name) if moves else [reader]
    return found


def arrivals(node: Node, readers: Readers, axis: int) -> list[Arrival] | None:
    """Return how a node's channels reach all that compute with them.

    Returns:
        None if some operation takes them off a single axis.
    """
    return _arrivals(node, readers, Channels.of(node, axis))


def moved_format(node: Node, source: Shape, fmt: Format) -> Format:
    """Return the format of codes behind a shape operation.

    Args:
        node: The shape operation.
        source: Shape of what it reads.
        fmt: Format of the codes it reads.

    Raises:
        ValueError: The channels' factors lie along no single axis there.
    """
    if not fmt.shifts:
        return fmt
    moved = Channels(torch.tensor(fmt.shifts), fmt.axis).moved(node, source)
    if moved is None:
        raise ValueError(f"{node.op} takes channels with factors of their own off their axis")
    return replace(fmt, shifts=tuple(moved.index.tolist()), axis=moved.axis)


def _arrivals(source: Node, readers: Readers, channels: Channels) -> list[Arrival] | None:
    found: list[Arrival] = []
    for reader in readers[source.name]:
        if reader.op not in SHAPE_OPERATIONS:
            found.append(Arrival(reader, source.name, channels))
            continue
        moved = channels.moved(reader, source.shape)
        further = None if moved is None else _arrivals(reader, readers, moved)
        if further is None:
            return None
        found += further
    return found
