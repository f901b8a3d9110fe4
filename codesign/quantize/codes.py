"""Which tensors get codes that are not evenly spaced: decided from the planned graph alone."""

from collections.abc import Mapping
from dataclasses import replace

from codesign.graph.ir import Graph, Node, resolve
from codesign.numerics.activation import ACTIVATIONS
from codesign.quantize.channels import Readers, arrivals, computing_readers
from codesign.quantize.formats import TWO_SCALE_READERS
from codesign.quantize.recipe import Recipe

_FACTOR_WRITERS = frozenset(
    {"conv2d", "linear", "matmul", "add", "mul", "mean", "affine", "constant", "concat"}
    | {"requantize", "layer_norm"}
)
"""What can round each channel to a step of its own."""
_FACTOR_READERS = frozenset({"layer_norm", "add", "mean", "requantize", "affine", "concat"})
"""What can shift each channel back before it computes."""
_OWN_AXIS = {"conv2d": -3, "linear": -1, "layer_norm": -1}
"""The axis of the channels of what has constants by channel."""


def with_codes(planned: Graph, recipe: Recipe) -> Graph:
    """Return a planned graph with the recipe's special codes marked.

    "factor_axis" (an axis, counted from the last) marks channels with power-of-two factors, for
    what LayerNorms read; "codes" is "two_scale" behind activations that are tables.
    """
    readers = planned.consumers()
    axes = _factor_axes(planned, readers) if recipe.norm_inputs == "ptf" else {}
    two_scale = recipe.activation_codes == "two_scale"
    nodes: list[Node] = []
    for node in planned.nodes:
        extra: dict[str, int | str] = {}
        if node.name in axes:
            extra = {"factor_axis": axes[node.name]}
        elif two_scale and node is not planned.output and _two_scaled(node, readers):
            extra = {"codes": "two_scale"}
        nodes.append(replace(node, attributes={**node.attributes, **extra}) if extra else node)
    return replace(planned, nodes=tuple(nodes))


def _factor_axes(graph: Graph, readers: Readers) -> dict[str, int]:
    """Return the nodes whose channels get factors, with the axis of the channels.

    From the last node to the first: LayerNorms ask for factors along the axis they normalise, and
    an add or a concatenation whose result has them asks its operands for the same.
    """
    axes: dict[str, int] = {}
    for node in reversed(graph.nodes):
        plain = "fused" not in node.attributes and node.attributes.get("bits", 16) <= 8
        if node is graph.output or node.op not in _FACTOR_WRITERS or not plain:
            continue
        axis = _factor_axis(node, readers, axes)
        if axis is not None:
            axes[node.name] = axis
    return axes


def _factor_axis(node: Node, readers: Readers, axes: Mapping[str, int]) -> int | None:
    computing = computing_readers(readers, node.name)
    asking = any(reader.op == "layer_norm" or reader.name in axes for reader in computing)
    if not asking or not {reader.op for reader in computing} <= _FACTOR_READERS:
        return None
    rank = len(node.shape)
    for axis in range(-1, -rank, -1):
        joined = node.op == "concat" and node.attributes["dim"] == rank + axis
        fits = resolve(node.shape, 1)[axis] > 1 and axis == _OWN_AXIS.get(node.op, axis)
        if fits and not joined and _asked(node, readers, axis, axes):
            return axis
    return None


def _asked(node: Node, readers: Readers, axis: int, axes: Mapping[str, int]) -> bool:
    """Return whether all who ask for factors of a node's channels ask for them on this axis."""
    found = arrivals(node, readers, axis)
    if found is None:
        return False
    wanted = {**axes, **{a.reader.name: -1 for a in found if a.reader.op == "layer_norm"}}
    return all(wanted.get(a.reader.name, a.channels.axis) == a.channels.axis for a in found)


def _two_scaled(node: Node, readers: Readers) -> bool:
    if node.op != "activation" or not 3 <= node.attributes["bits"] <= 8:
        return False
    function = ACTIVATIONS.get(node.attributes["function"])
    operations = {reader.op for reader in computing_readers(readers, node.name)}
    return function.operation == "lookup" and not function.clips and operations <= TWO_SCALE_READERS
