"""Padding: by zeros, by other numbers, by copies, and below any value."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import fx

from codesign.graph.aten.base import Constant, arguments, handles, rank
from codesign.graph.aten.gathers import add_gather
from codesign.graph.aten.moves import add_expand, add_pad
from codesign.graph.aten.pieces import add_concat

if TYPE_CHECKING:
    from codesign.graph.capture import Converter


@dataclass(frozen=True)
class Bordered:
    """A tensor padded with less than any value, which only the largest of windows can read.

    Attributes:
        name: The tensor's node.
        pads: [before, after] for every dimension.
    """

    name: str
    pads: list[list[int]]


LEAST = -1e30
"""Padding with a number below this stands for minus infinity."""


@handles("pad", "constant_pad_nd")
def _pad(c: "Converter", node: fx.Node) -> "str | Bordered":
    a = arguments(node)
    name = c.operand(node.args[0], node)
    flat = list(a["pad"])
    pairs = [flat[i : i + 2] for i in range(0, len(flat), 2)][::-1]
    pads = [[0, 0]] * (rank(node) - len(pairs)) + pairs
    mode, value = a.get("mode", "constant"), a.get("value") or 0.0
    if mode != "constant":
        return _pad_by_copies(c, node, name, pads, mode)
    if value <= LEAST:
        return Bordered(name, pads)
    if value == 0.0 or all(width <= 0 for pair in pads for width in pair):
        return add_pad(c, node, name, pads)
    return _pad_with(c, node, name, pads, value)


def _pad_with(c: "Converter", node: fx.Node, name: str, pads: list[list[int]], value: float) -> str:
    """Pad with another number than zero: constants joined on either side."""
    for dim, widths in enumerate(pads):
        shape = c.nodes[name].shape
        parts = [name]
        for side, width in enumerate(widths):
            if width <= 0:
                continue
            block = torch.full((1,) * len(shape), value)
            held = c.constant_node(Constant(block, block), node)
            held = add_expand(c, node, held, (*shape[:dim], width, *shape[dim + 1 :]))
            parts = [held, *parts] if side == 0 else [*parts, held]
        size = shape[dim]
        if len(parts) > 1 and isinstance(size, int):
            grown = (*shape[:dim], size + sum(widths), *shape[dim + 1 :])
            name = add_concat(c, node, parts, dim, grown)
    return name


def _pad_by_copies(
    c: "Converter", node: fx.Node, name: str, pads: list[list[int]], mode: str
) -> str:
    """Pad by reflection, by the border's values, or by the other side's."""
    for dim, (before, after) in enumerate(pads):
        size = c.nodes[name].shape[dim]
        if not (before or after) or not isinstance(size, int):
            continue
        places = range(-before, size + after)
        if mode == "reflect":
            period = max(2 * size - 2, 1)
            indices = [min(p % period, period - p % period) for p in places]
        elif mode == "replicate":
            indices = [min(max(p, 0), size - 1) for p in places]
        else:
            indices = [p % size for p in places]
        name = add_gather(c, node, name, dim, indices)
    return name
