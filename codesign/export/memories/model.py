"""The memories of a model: every integer tensor, and what else the hardware stores for a layer."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.errors import RunError
from codesign.export.memories.elements import Element
from codesign.export.memories.memory import Memories, Writer
from codesign.export.memories.weights import weight_parts
from codesign.graph.ir import SHAPE_OPERATIONS
from codesign.integer.model import IntegerModel, IntegerNode
from codesign.numerics.fixed_point import MULTIPLIER_BITS
from codesign.numerics.softmax.codebook import WIDE_BITS

BIAS_BITS, SHIFT_BITS, SCALE_BITS, EXPONENT_BITS = 32, 6, 16, 8
"""Widths of the specification; SHIFT_BITS holds shifts up to 44."""
CHANNEL_SHIFT_BITS = 2
EXPONENTIAL_BITS = 15

_ELEMENTS: dict[str, Element] = {
    "bias": Element.plain(BIAS_BITS, signed=True),
    "offset": Element.plain(BIAS_BITS, signed=True),
    "multiplier": Element.plain(MULTIPLIER_BITS, signed=False),
    "shift": Element.plain(SHIFT_BITS, signed=False),
    "scale": Element.plain(SCALE_BITS, signed=True),
    "mantissa": Element.plain(SCALE_BITS + 1, signed=True),
    "exponent": Element.plain(EXPONENT_BITS, signed=True),
    "table": Element.plain(EXPONENTIAL_BITS, signed=False),
    "thresholds": Element.plain(WIDE_BITS + 1, signed=False),
}
"""Width and sign of an element by role; `_OF_RESULT` has those that are codes of the result."""
_OF_RESULT = {("lookup", "table"), ("constant", "value"), ("codebook_softmax", "codes")}
_SIGNED_MULTIPLIER = Element.plain(MULTIPLIER_BITS, signed=True)
_DESCRIPTIONS = {
    "weight": "output channel first",
    "bias": "one for each output channel",
    "multiplier": "M of the requantisation",
    "shift": "s of the requantisation",
    "offset": "added by channel",
    "scale": "factor by channel",
    "mantissa": "factor by channel: mantissa with its sign",
    "exponent": "factor by channel: negated exponent",
    "table": "one entry for each input code, the smallest code first",
    "thresholds": "rising; the number of those not above P is the index into codes",
    "codes": "codes between the thresholds",
    "value": "codes of a constant",
}


def memory_files(model: IntegerModel) -> Memories:
    """Return mem/*.mem: weights, biases, multipliers, shifts, tables and all other constants.

    A tensor of the model is one file, but for weights of a mixed layer, which are two with a third
    that tells their channels apart. Numbers that graph.json lists and a layer needs once for each
    channel or code are files as well: the shifts of an output format's channels (`channel_shift`),
    its `codebook`, the `indices` of a gather.

    Args:
        model: The integer model.

    Raises:
        RunError: A number does not fit the width that the specification gives it.
    """
    writer = Writer("mem")
    for node in model.nodes:
        for role in sorted(node.tensors, key=_place):  # whatever order a file gave them
            key = node.tensors[role]
            if role == "weight":
                _add_weights(writer, node, model.tensors[key])
            else:
                element, description = _element(node, role), _DESCRIPTIONS[role]
                writer.add(node.name, role, model.tensors[key], element, description)
        for add in _LISTS:
            add(writer, node)
    return writer.memories()


def _add_weights(writer: Writer, node: IntegerNode, weight: NDArray[np.integer[Any]]) -> None:
    for part in weight_parts(node, weight):
        description = part.note or _DESCRIPTIONS["weight"]
        writer.add(node.name, part.role, part.values, part.element, description)


def _place(role: str) -> tuple[int, str]:
    roles = list(_DESCRIPTIONS)
    return (roles.index(role) if role in roles else len(roles)), role


def _element(node: IntegerNode, role: str) -> Element:
    if (node.op, role) in _OF_RESULT:
        return Element.of_format(node.format)
    if (node.op, role) == ("affine", "multiplier"):
        return _SIGNED_MULTIPLIER
    if role not in _ELEMENTS:
        raise RunError(f"layer {node.name}: no memory holds a {role} of {node.op}.")
    return _ELEMENTS[role]


def _channel_shifts(writer: Writer, node: IntegerNode) -> None:
    shifts = node.format.shifts
    if shifts and node.op not in SHAPE_OPERATIONS:
        element = Element.plain(CHANNEL_SHIFT_BITS, signed=False)
        description = "left shift of each channel of the output"
        writer.add(node.name, "channel_shift", np.array(shifts), element, description)


def _codebook(writer: Writer, node: IntegerNode) -> None:
    if node.format.codebook and node.op not in SHAPE_OPERATIONS:
        values = np.array(node.format.codebook)
        description = "the whole number of each output code, code 0 first"
        writer.add(node.name, "codebook", values, _narrowest(values), description)


def _indices(writer: Writer, node: IntegerNode) -> None:
    if node.op == "gather":
        values = np.array(node.attributes["indices"])
        description = f"places along axis {node.attributes['dim']} of the input"
        writer.add(node.name, "indices", values, _narrowest(values), description)


def _narrowest(values: NDArray[np.int64]) -> Element:
    """Return the narrowest element that holds all values."""
    signed = bool((values < 0).any())
    reach = np.where(values < 0, ~values, values)
    return Element.plain(max(1, int(reach.max()).bit_length() + signed), signed=signed)


_LISTS: tuple[Callable[[Writer, IntegerNode], None], ...] = (_channel_shifts, _codebook, _indices)
