"""The template's on-chip memories: how wide and deep each is, and the blocks it takes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from costmodels.accelerator import Accelerator
from costmodels.engines import Placement, lane_widths
from costmodels.grid import BUFFERS, Grid
from costmodels.memory import Memory, buffer_depths, place_all
from costmodels.systolic import Integers, ceil_div
from costmodels.tiling import CONSTANT_BITS

_DOUBLE = ("input", "weight", "output")


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
    for name, (words, bits, *kinds) in _memories(
        widths.reshape(1, -1, 3), placements, grid, has_uram=has_uram
    ).items():
        made[name] = Buffer(int(words[0]), int(bits[0]), Memory(*(int(kind[0]) for kind in kinds)))
    return made


def blocks(
    widths: Integers, placements: Sequence[Placement], grid: Grid, *, has_uram: bool
) -> dict[str, Blocks]:
    """Return the memory blocks of each memory on every accelerator; arguments as for `shapes`."""
    memories = _memories(widths, placements, grid, has_uram=has_uram)
    return {name: Blocks(*kinds) for name, (_, _, *kinds) in memories.items()}


def _memories(
    widths: Integers, placements: Sequence[Placement], grid: Grid, *, has_uram: bool
) -> dict[str, tuple[Integers, ...]]:
    """Return words, bits of a word, 18-kbit blocks, UltraRAMs and LUTs of each memory by name."""
    sizes = shapes(widths, placements, grid)
    words, bits = np.array(list(sizes.values())).swapaxes(0, 1)
    in_uram = np.array([has_uram and name in _DOUBLE for name in sizes])[:, None]
    columns = (words, bits, *place_all(words, bits, has_uram=in_uram))
    return {name: tuple(column[i] for column in columns) for i, name in enumerate(sizes)}


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
    widest = widths.max(axis=1, initial=0).T
    depths = buffer_depths(grid.columns(BUFFERS).T, np.maximum(widest, 1))
    double = zip(depths * (widest > 0), widest, strict=True)
    made = dict(zip(_DOUBLE, double, strict=True))
    lanes = grid.column("vector_lanes")
    made["constants"] = 2 * ceil_div(_channels(placements), lanes), lanes * CONSTANT_BITS
    pixels, bits = _lines(placements)
    made["line_buffer"] = np.full(len(grid), pixels), grid.column("depthwise_lanes") * bits
    return made


def _channels(placements: Sequence[Placement]) -> int:
    """Return the output channels of the layer that has most of them."""
    with_weights = [p.layer for p in placements if p.layer.kind != "matmul"]
    return max((layer.n * layer.repeats for layer in with_weights), default=0)


def _lines(placements: Sequence[Placement]) -> tuple[int, int]:
    """Return the pixels that a depthwise lane keeps to see its whole window, and their bits."""
    layers = [p.layer for p in placements if p.engine == "depthwise"]
    depth = max(((layer.kernel_height - 1) * layer.in_width for layer in layers), default=0)
    return depth, max((layer.activation_bits for layer in layers), default=0)
