"""The memories that are synthesised."""

import random
from dataclasses import dataclass

from costmodels.characterize.tool import Instance

_STYLES = ("block", "ultra", "distributed")

# Depth, width and banks: shapes of the blocks, buffers that feed arrays, line buffers.
_BLOCK = (
    (512, 36, 1), (512, 72, 1), (1024, 32, 1), (1024, 18, 1), (2048, 128, 1), (4096, 72, 1),
    (784, 256, 1), (3136, 64, 1), (16384, 1, 1), (8192, 4, 1), (2048, 256, 1), (4096, 128, 1),
    (513, 36, 1), (1025, 18, 1), (600, 112, 1), (204, 64, 1), (2048, 8, 4), (2048, 4, 4),
    (512, 32, 3), (1024, 16, 2), (16384, 8, 1), (32768, 4, 1),
)  # fmt: skip
_ULTRA = (
    (4096, 72, 1), (4097, 73, 1), (8192, 72, 1), (4096, 256, 1), (10000, 64, 1), (2048, 144, 1),
    (16384, 36, 1), (4096, 64, 2),
)  # fmt: skip
_DISTRIBUTED = (
    (16, 8, 1), (32, 14, 1), (32, 56, 1), (64, 7, 1), (64, 24, 1), (64, 64, 1), (128, 16, 1),
    (128, 56, 1), (100, 32, 1), (24, 224, 1), (48, 112, 1), (64, 8, 4),
)  # fmt: skip


@dataclass(frozen=True)
class MemoryConfiguration:
    """Banks of memory.

    Attributes:
        style: "block", "ultra" or "distributed".
        family: Yosys' name of the device family.
        depth: Words of a bank.
        width: Bits of a word.
        banks: Memories of this depth and width.
    """

    style: str
    family: str
    depth: int
    width: int
    banks: int = 1

    @property
    def mapped(self) -> bool:
        """The synthesis is whole: blocks are final before logic is mapped, LUTs are not."""
        return self.style == "distributed"

    @property
    def flow(self) -> str:
        """The synthesis command."""
        uram = " -uram" if self.style == "ultra" else ""
        until = "" if self.mapped else " -run begin:map_ffram"
        return f"synth_xilinx -family {self.family} -flatten -noiopad{uram}{until}"

    @property
    def instance(self) -> Instance:
        """The module and its parameters."""
        values = {"DEPTH": self.depth, "WIDTH": self.width, "BANKS": self.banks}
        return Instance("ram", tuple({**values, "STYLE": _STYLES.index(self.style)}.items()))


def memory_configurations(seed: int = 0) -> list[MemoryConfiguration]:
    """Return every memory to synthesise; the last ones in block RAM are drawn with `seed`."""
    draw = random.Random(seed)
    drawn = [(draw.randint(129, 6000), draw.randint(2, 200), 1) for _ in range(20)]
    every = [MemoryConfiguration("block", "xcup", *shape) for shape in (*_BLOCK, *drawn)]
    every += [MemoryConfiguration("block", "xc7", *shape) for shape in _BLOCK[:8]]
    every += [MemoryConfiguration("ultra", "xcup", *shape) for shape in _ULTRA]
    for family in ("xcup", "xc7"):
        every += [MemoryConfiguration("distributed", family, *shape) for shape in _DISTRIBUTED]
    return every
