"""Block counts against Yosys and the shapes of the blocks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmodels.memory import Memory, bram18_blocks, buffer_depth, lutram_luts, place, uram_blocks


# Yosys 0.70, synth_xilinx -family xcup, in 18-kbit blocks
@pytest.mark.parametrize(
    ("depth", "width", "blocks"),
    [
        (512, 36, 1),
        (512, 72, 2),
        (1024, 32, 2),
        (2048, 128, 15),
        (4096, 72, 16),
        (784, 256, 15),
        (3136, 64, 14),
    ],
)
def test_blocks_agree_with_yosys(depth: int, width: int, blocks: int) -> None:
    assert bram18_blocks(depth, width) == blocks


def test_uram_has_one_shape() -> None:
    assert uram_blocks(4096, 72) == 1
    assert uram_blocks(4097, 73) == 4


@given(st.integers(129, 20000), st.integers(1, 600), st.booleans())
def test_memory_holds_its_bits(depth: int, width: int, has_uram: bool) -> None:
    memory = place(depth, width, has_uram=has_uram)
    assert memory.bram18 * 18 * 1024 + memory.uram * 288 * 1024 >= depth * width
    assert has_uram or memory.uram == 0


@given(st.integers(1, 20000), st.integers(1, 600))
def test_more_words_never_take_fewer_blocks(depth: int, width: int) -> None:
    assert bram18_blocks(depth, width) <= bram18_blocks(depth + 1, width)
    assert bram18_blocks(depth, width) <= bram18_blocks(depth, width + 1)


def test_shallow_memories_are_luts() -> None:
    assert place(64, 24, has_uram=True) == Memory(lut=lutram_luts(64, 24)) == Memory(lut=32)


def test_double_buffer_holds_both_halves() -> None:
    assert buffer_depth(64, 256) == 2 * 64 * 1024 * 8 // 256


def test_nothing_takes_nothing() -> None:
    assert place(0, 8, has_uram=True) == Memory()
