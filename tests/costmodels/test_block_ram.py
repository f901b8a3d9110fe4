"""Block counts against the stored synthesis and the shapes of the blocks."""

from hypothesis import given
from hypothesis import strategies as st

from costmodels.memory import Memory, bram18_blocks, buffer_depth, lutram_luts, place, uram_blocks
from costmodels.tables import read_table


def synthesised(style: str) -> list[tuple[dict[str, str], tuple[int, int, int]]]:
    rows = [row for row in read_table("memory") if row["style"] == style]
    return [(row, (int(row["depth"]), int(row["width"]), int(row["banks"]))) for row in rows]


def test_blocks_agree_with_yosys() -> None:
    """One shape for all blocks is never fewer; Yosys mixes shapes for some odd sizes."""
    more = [
        bram18_blocks(*shape) - (int(row["bram18"]) + 2 * int(row["bram36"]))
        for row, shape in synthesised("block")
    ]
    assert sum(difference == 0 for difference in more) >= 42
    assert len(more) == 50 and min(more) == 0 and max(more) <= 3


def test_uram_agrees_with_yosys() -> None:
    """But where Yosys uses an UltraRAM as 8192 x 36 bits, by its byte enables and a multiplexer."""
    equal = [uram_blocks(*shape) == int(row["uram"]) for row, shape in synthesised("ultra")]
    halved = [
        shape
        for row, shape in synthesised("ultra")
        if uram_blocks(*shape) > int(row["uram"]) and (shape[1] - 1) % 72 < 36
    ]
    assert sum(equal) == 6 and len(halved) == len(equal) - sum(equal) == 2


def test_lut_ram_is_that_of_synthesis() -> None:
    families = {"xcup": "ultrascale+", "xc7": "7 series"}
    rows = synthesised("distributed")
    assert len(rows) == 24
    for row, shape in rows:
        assert lutram_luts(*shape, family=families[row["family"]]) == int(row["lut"]), row


def test_banks_share_no_block() -> None:
    """32 lanes of a byte, 64 kB: one wide memory against one memory a lane."""
    assert bram18_blocks(2048, 256) == 29
    assert bram18_blocks(2048, 8, banks=32) == 32
    assert bram18_blocks(2048, 4, banks=32) == 32  # half of each block is empty


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
