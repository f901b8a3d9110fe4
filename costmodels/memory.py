"""Block RAM, UltraRAM and LUT RAM of the buffers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from costmodels.checks import check_choice, check_sizes
from costmodels.systolic import Integers, ceil_div

# Shapes (depth, width) of an 18-kbit block: AMD UG573 (the last as simple dual port).
BRAM18_SHAPES = ((16384, 1), (8192, 2), (4096, 4), (2048, 9), (1024, 18), (512, 36))
_BRAM18 = np.array(BRAM18_SHAPES, dtype=np.int64).T
URAM_DEPTH, URAM_WIDTH = 4096, 72  # the only shape on UltraScale+: AMD UG573
LUTRAM_MAX_DEPTH = 128
# Words, bits and LUTs of the simple dual-port primitives RAM32M, RAM64M (AMD UG953) and RAM32M16,
# RAM64M8 (AMD UG974).
_LUTRAM = {
    "7 series": ((32, 6, 4), (64, 3, 4)),
    "ultrascale+": ((32, 14, 8), (64, 7, 8)),
}
_URAM_MIN_FILL = 0.5


@dataclass(frozen=True)
class Memory:
    """Memory blocks; `lut` is LUTs used as RAM."""

    bram18: int = 0
    uram: int = 0
    lut: int = 0

    def __add__(self, other: "Memory") -> "Memory":
        """Return the sum, kind by kind."""
        return Memory(self.bram18 + other.bram18, self.uram + other.uram, self.lut + other.lut)


def bram18_blocks(depth: int, width: int, banks: int = 1) -> int:
    """Return the 18-kbit blocks of `banks` memories of `depth` words of `width` bits.

    The fewest over the shapes of the block, all blocks of one shape, as FINN counts them; two make
    a BRAM36. Banks share no block. Yosys 0.70 agrees, but for some odd widths, whose last bits it
    puts into blocks of another shape (`reference/memory.csv`).

    Raises:
        CostModelError: A size is not a positive whole number.
    """
    check_sizes("block RAM", depth=depth, width=width, banks=banks)
    return banks * int(_bram18(depth, width))


def uram_blocks(depth: int, width: int, banks: int = 1) -> int:
    """Return the 288-kbit blocks of `banks` memories of `depth` x `width` bits (UltraScale+).

    Raises:
        CostModelError: A size is not a positive whole number.
    """
    check_sizes("UltraRAM", depth=depth, width=width, banks=banks)
    return banks * int(_uram(depth, width))


def lutram_luts(depth: int, width: int, banks: int = 1, family: str = "ultrascale+") -> int:
    """Return the LUTs of `banks` simple dual-port LUT RAMs, the choice among their parts included.

    Equal to Yosys 0.70 in every case of `reference/memory.csv`, up to 128 words.

    Args:
        depth: Words of a bank.
        width: Bits of a word.
        banks: Memories.
        family: "ultrascale+" or "7 series".

    Raises:
        CostModelError: A size is not a positive whole number, or the family is unknown.
    """
    check_sizes("LUT RAM", depth=depth, width=width, banks=banks)
    check_choice("LUT RAM", "family", family, tuple(_LUTRAM))
    return banks * int(_lutram(depth, width, family))


def place(depth: int, width: int, *, has_uram: bool) -> Memory:
    """Return the cheapest kind of memory that suits a `depth` x `width`-bit buffer.

    LUT RAM up to 128 words; UltraRAM where the board has it and at least half of its bits would be
    used; else block RAM.

    Args:
        depth: Words; 0 for no buffer.
        width: Bits of a word, all read in one cycle.
        has_uram: The board has UltraRAM.

    Raises:
        CostModelError: A size is negative or not a whole number.
    """
    check_sizes("buffer", zero=True, depth=depth, width=width)
    bram18, uram, lut = place_all(np.array([depth]), np.array([width]), has_uram=has_uram)
    return Memory(int(bram18[0]), int(uram[0]), int(lut[0]))


def place_all(
    depth: Integers, width: Integers, *, has_uram: bool | NDArray[np.bool_]
) -> tuple[Integers, Integers, Integers]:
    """Return 18-kbit blocks, UltraRAMs and LUTs of buffers as `place` chooses them.

    Arguments are as there, but arrays of one shape, of whole numbers from 0.
    """
    depth = depth * (width > 0)
    uram = _uram(depth, width)
    small = depth <= LUTRAM_MAX_DEPTH
    filled = depth * width >= _URAM_MIN_FILL * URAM_DEPTH * URAM_WIDTH * uram
    in_uram = np.asarray(has_uram) & filled & ~small
    bram18 = _bram18(depth, width) * ~(small | in_uram)
    return bram18, uram * in_uram, _lutram(depth, width) * small


def _bram18(depth: Any, width: Any) -> Integers:
    depths, widths = _BRAM18.reshape(2, -1, *(1,) * np.ndim(depth))
    counts = ceil_div(depth, depths) * ceil_div(width, widths)
    return counts.min(axis=0)


def _uram(depth: Any, width: Any) -> Integers:
    return ceil_div(depth, URAM_DEPTH) * ceil_div(width, URAM_WIDTH)


def _lutram(depth: Any, width: Any, family: str = "ultrascale+") -> Integers:
    shallow, deep = _LUTRAM[family]
    is_deep = np.greater(depth, shallow[0]).astype(np.intp)
    words, bits, luts = np.array([shallow, deep]).T[:, is_deep]
    parts = ceil_div(depth, words)
    choice = (width * ceil_div(parts - 1, 3) + parts) * (parts > 1)
    return parts * ceil_div(width, bits) * luts + choice


def buffer_depth(size_kb: int, width: int) -> int:
    """Return the words of a double buffer whose halves hold `size_kb` kB (1024 bytes) each.

    Raises:
        CostModelError: A size is not a positive whole number.
    """
    check_sizes("buffer", size_kb=size_kb, width=width)
    return int(buffer_depths(size_kb, width))


def buffer_depths(size_kb: Any, width: Any) -> Integers:
    """Return `buffer_depth` of arrays of positive whole numbers."""
    return 2 * ceil_div(np.asarray(size_kb) * 8192, width)
