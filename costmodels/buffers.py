"""The template's on-chip memories: how wide and deep each is, and the blocks it takes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from costmodels.accelerator import Accelerator
from costmodels.engines import Placement, lane_widths
from costmodels.grid import BUFFERS, Grid, distinct, once_each
from costmodels.memory import Memory, buffer_depth, place
from costmodels.systolic import Integers, ceil_div
from costmodels.tiling import CONSTANT_BITS

_DOUBLE = ("input", "weight", "output")
_KINDS = ("bram18", "uram", "lut")


@dataclass(frozen=True)
class Buffer:
    """One on-chip memory.

    Attributes:
        words: Its depth; of a double buffer both halves.
        word_bits: Bits of a word, all read in one cycle.
        blocks: The memory blocks it takes.
    """

    words: int
    word_bits: int
    blocks: Memory


@dataclass(frozen=True)
class Blocks:
    """`Memory` of every accelerator of a grid; arrays of shape (accelerators,)."""

    bram18: Integers
    uram: Integers
    lut: Integers


def buffers(
    placements: Sequence[Placement], accelerator: Accelerator, *, has_uram: bool
) -> dict[str, Buffer]:
    """Return the memories by name.

    "input", "weight" and "output" are double buffers as wide as the engines read and write them;
    "constants" holds the biases, multipliers and shifts of two layers; "line_buffer" the rows of
    pixels that the depthwise engine keeps to see its whole window.

    Args:
        placements: The matrix layers on their engines.
        accelerator: The template's parameters.
        has_uram: The board has UltraRAM.
    """
    widths = np.array([[lane_widths(p, accelerator.dataflow) for p in placements]], dtype=np.int64)
    grid = Grid.of(accelerator)
    made = {}
    for name, (words, bits) in shapes(widths.reshape(1, -1, 3), placements, grid).items():
        blocks = _placed(name, int(words[0]), int(bits[0]), has_uram=has_uram)
        made[name] = Buffer(int(words[0]), int(bits[0]), blocks)
    return made


def blocks(
    widths: Integers, placements: Sequence[Placement], grid: Grid, *, has_uram: bool
) -> Blocks:
    """Return the memory blocks of all memories on every accelerator; arguments as for `shapes`."""
    total: dict[str, Integers] = {kind: np.zeros(len(grid), np.int64) for kind in _KINDS}
    for name, (words, bits) in shapes(widths, placements, grid).items():
        some, which = distinct((words, bits))
        pairs = zip(words[some].tolist(), bits[some].tolist(), strict=True)
        made = [_placed(name, *pair, has_uram=has_uram) for pair in pairs]
        for kind in _KINDS:
            total[kind] += np.array([getattr(memory, kind) for memory in made])[which]
    return Blocks(**total)


def shapes(
    widths: Integers, placements: Sequence[Placement], grid: Grid
) -> dict[str, tuple[Integers, Integers]]:
    """Return words and bits of a word of each memory on every accelerator.

    Args:
        widths: Bits a cycle that each layer reads as input and as weights, and writes, shape
            (accelerators, layers, 3).
        placements: The layers.
        grid: The accelerators.

    Returns:
        By name, two arrays of shape (accelerators,).
    """
    widest = widths.max(axis=1, initial=0)
    made = {}
    for i, (name, size) in enumerate(zip(_DOUBLE, BUFFERS, strict=True)):
        width = widest[:, i]
        made[name] = once_each(_depth, grid.column(size), width), width
    lanes = grid.column("vector_lanes")
    made["constants"] = 2 * ceil_div(_channels(placements), lanes), lanes * CONSTANT_BITS
    depth, bits = _lines(placements)
    made["line_buffer"] = np.full_like(lanes, depth), grid.column("depthwise_lanes") * bits
    return made


def _depth(size_kb: int, width: int) -> int:
    return buffer_depth(size_kb, width) if width else 0


def _placed(name: str, words: int, word_bits: int, *, has_uram: bool) -> Memory:
    return place(words, word_bits, has_uram=has_uram and name in _DOUBLE)


def _channels(placements: Sequence[Placement]) -> int:
    """Return the output channels of the layer that has most of them."""
    with_weights = [p.layer for p in placements if p.layer.kind != "matmul"]
    return max((layer.n * layer.repeats for layer in with_weights), default=0)


def _lines(placements: Sequence[Placement]) -> tuple[int, int]:
    """Return the pixels that a depthwise lane keeps to see its whole window, and their bits."""
    layers = [p.layer for p in placements if p.engine == "depthwise"]
    depth = max(((layer.kernel_height - 1) * layer.in_width for layer in layers), default=0)
    return depth, max((layer.activation_bits for layer in layers), default=0)
