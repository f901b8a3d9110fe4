"""What every lowering shares: the model under construction, proofs, and the registry."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.errors import RunError
from codesign.graph.ir import SHAPE_OPERATIONS, Node
from codesign.integer.model import IntegerNode
from codesign.numerics.fixed_point import ACCUMULATOR_LIMIT, MAX_SHIFT, Format, dyadic
from codesign.quantize.channels import moved_format
from codesign.quantize.network import QuantizedNetwork

Integers = dict[str, NDArray[np.integer[Any]]]
Lower = Callable[["Lowering", Node], None]
_LOWERINGS: dict[str, Lower] = {}


def lowers(*operations: str) -> Callable[[Lower], Lower]:
    """Return a decorator that files a lowering under the operations it converts."""

    def decorate(function: Lower) -> Lower:
        _LOWERINGS.update(dict.fromkeys(operations, function))
        return function

    return decorate


class Lowering:
    """Builds integer nodes one by one."""

    def __init__(self, network: QuantizedNetwork) -> None:
        self.network = network
        self.nodes: dict[str, IntegerNode] = {}
        self.tensors: Integers = {}
        self.alias: dict[str, str] = {}

    def convert(self, node: Node) -> None:
        """Add the integer node (or nodes) of one node of the planned graph."""
        if node.op in SHAPE_OPERATIONS:
            target = self.moved(node)
            filled = {"value": zero_code(target)} if node.op == "pad" else {}
            self.add(node, target, {**node.attributes, **filled}, {}, op=node.op)
            return
        try:
            _LOWERINGS[node.op](self, node)
        except ValueError as error:
            raise RunError(f"layer {node.name}: {error}") from error

    def name(self, source: str) -> str:
        """Return the integer node that holds a node's codes."""
        return self.alias.get(source, source)

    def format(self, source: str) -> Format:
        """Return the format of the codes of a node."""
        return self.nodes[self.name(source)].format

    def target(self, node: Node) -> Format:
        """Return the format a node rounds to: its own, or its fused activation's."""
        return self.network.formats[node.attributes.get("fused", node.name)]

    def moved(self, node: Node) -> Format:
        """Return the format of codes behind a shape operation: channels keep their factors."""
        source = self.network.graph[node.inputs[0]]
        return moved_format(node, source.shape, self.format(source.name))

    def add(
        self,
        node: Node,
        target: Format,
        attributes: Mapping[str, Any],
        tensors: Mapping[str, NDArray[np.integer[Any]]],
        *,
        op: str = "",
        inputs: tuple[str, ...] | None = None,
    ) -> None:
        """File an integer node and its tensors."""
        keys = {role: f"{node.name}/{role}" for role in tensors}
        self.tensors.update({keys[role]: value for role, value in tensors.items()})
        sources = tuple(self.name(name) for name in (inputs or node.inputs))
        self.nodes[node.name] = IntegerNode(
            node.name, op or node.op, sources, target, node.shape, dict(attributes), keys
        )

    def prove(self, node: Node, bound: float) -> None:
        """Check that an accumulator's bound fits 32 bits.

        Raises:
            RunError: It does not.
        """
        if bound > ACCUMULATOR_LIMIT:
            raise RunError(
                f"layer {node.name}: its accumulator can reach {bound:.0f}, above 2**31 - 1;"
                " use fewer weight or activation bits there."
            )


def largest_shift(target: Format) -> int:
    """Return how far a requantisation to a format may shift before its channels shift further."""
    return MAX_SHIFT - max(target.shifts, default=0)


def scalar(ratio: float, target: Format) -> dict[str, int]:
    """Return the multiplier and shift of a requantisation to a format, as attributes."""
    multiplier, shift = dyadic(ratio, largest_shift(target))
    return {"multiplier": int(multiplier[0]), "shift": int(shift[0])}


def zero_code(fmt: Format) -> int:
    """Return the code that stands for zero.

    Raises:
        ValueError: A codebook has none.
    """
    if not fmt.codebook:
        return fmt.zero_point
    if 0 not in fmt.codebook:
        raise ValueError("padding codes that have none for zero")
    return fmt.codebook.index(0)


def narrowest(values: NDArray[np.int64]) -> NDArray[np.integer[Any]]:
    """Return the values in the narrowest signed type that holds them."""
    peak = int(np.abs(values).max(initial=0))
    return values.astype(np.int8 if peak < 2**7 else np.int16 if peak < 2**15 else np.int32)
