"""DRAM traffic against an exhaustive search that plays the tile loops."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_workloads import mobile_block

from costmodels.accelerator import Accelerator
from costmodels.board import load_board
from costmodels.engines import place
from costmodels.estimate import estimate
from costmodels.tiling import layer_traffic, whole_bytes
from costmodels.traffic import Products, best_tilings

SUM_BITS, FIRST_BITS, SECOND_BITS = 16, 4, 8


def product(m: int, k: int, n: int, smallest: tuple[int, int, int], halo: int = 0) -> Products:
    values = (m, k, n, m * k * FIRST_BITS, k * n * SECOND_BITS, halo, SUM_BITS, *smallest)
    return Products(*(np.array([value], dtype=np.int64) for value in values))


def operand_bits(p: Products, *buffers: int):
    return best_tilings(p, *buffers).bits


def played(m: int, k: int, n: int, tile: tuple[int, int, int], rows_outer: bool) -> tuple[int, int]:
    """Run the tile loops and add up the bits of each tile that is not the one in place."""
    tile_m, tile_k, tile_n = tile
    spans = [range(0, size, step) for size, step in ((m, tile_m), (n, tile_n), (k, tile_k))]
    outer, inner = (spans[0], spans[1]) if rows_outer else (spans[1], spans[0])
    first = second = None
    read = [0, 0]
    for a, b, reduction in itertools.product(outer, inner, spans[2]):
        row, column = (a, b) if rows_outer else (b, a)
        if first != (row, reduction):
            first = (row, reduction)
            read[0] += min(tile_m, m - row) * min(tile_k, k - reduction) * FIRST_BITS
        if second != (reduction, column):
            second = (reduction, column)
            read[1] += min(tile_k, k - reduction) * min(tile_n, n - column) * SECOND_BITS
    return read[0], read[1]


def fits(tile: tuple[int, ...], least: tuple[int, ...], buffers: tuple[int, ...]) -> bool:
    """Whether each operand's tile is within its half, or no larger than the smallest tile's."""
    bits = (FIRST_BITS, SECOND_BITS, SUM_BITS)
    return all(
        tile[a] * tile[b] <= max(buffer // width, least[a] * least[b])
        for (a, b), width, buffer in zip(((0, 1), (1, 2), (0, 2)), bits, buffers, strict=True)
    )


def brute_force(
    m: int, k: int, n: int, least: tuple[int, int, int], buffers: tuple[int, int, int]
) -> int:
    sizes = [range(minimum, size + 1) for minimum, size in zip(least, (m, k, n), strict=True)]
    return min(
        sum(played(m, k, n, tile, rows_outer))
        for tile in itertools.product(*sizes)
        if fits(tile, least, buffers)
        for rows_outer in (True, False)
    )


small = st.integers(1, 7)


@settings(max_examples=60, deadline=None)
@given(
    small, small, small, st.tuples(*[st.integers(1, 3)] * 3), st.tuples(*[st.integers(8, 500)] * 3)
)
def test_traffic_is_the_least_of_all_tilings(
    m: int, k: int, n: int, smallest: tuple[int, int, int], buffers: tuple[int, int, int]
) -> None:
    least = tuple(min(size, minimum) for size, minimum in zip((m, k, n), smallest, strict=True))
    tiling = best_tilings(product(m, k, n, least), *buffers)
    found = tuple(int(sizes[0]) for sizes in (tiling.tile_m, tiling.tile_k, tiling.tile_n))
    assert fits(found, least, buffers)
    assert all(small <= size for small, size in zip(least, found, strict=True))
    bits = int(tiling.first_bits[0]), int(tiling.second_bits[0])
    assert played(m, k, n, found, bool(tiling.rows_outermost[0])) == bits
    assert sum(bits) == brute_force(m, k, n, least, buffers)


def test_whole_operands_are_read_once() -> None:
    bits = operand_bits(product(40, 50, 60, (8, 8, 8)), 1 << 20, 1 << 20, 1 << 20)
    assert int(bits[0]) == 40 * 50 * FIRST_BITS + 50 * 60 * SECOND_BITS


@settings(deadline=None)
@given(*[st.integers(1, 300)] * 3, *[st.integers(64, 20000)] * 3)
def test_larger_buffers_never_read_more(
    m: int, k: int, n: int, first: int, second: int, sums: int
) -> None:
    p = product(m, k, n, (1, 1, 1))
    assert operand_bits(p, 2 * first, 2 * second, 2 * sums) <= operand_bits(p, first, second, sums)


def test_bands_of_rows_read_their_halo_twice() -> None:
    # 4 rows of K = 8 fit the input buffer: 4 bands, 3 seams; weights fit whole
    buffers = 4 * 8 * FIRST_BITS, 8 * 4 * SECOND_BITS, 1 << 12
    with_halo, without = (
        int(operand_bits(product(16, 8, 4, (1, 8, 1), halo), *buffers)[0]) for halo in (32, 0)
    )
    assert with_halo - without == 3 * 32


def test_tall_bands_read_their_halo_twice_too() -> None:
    # one column of weights at a time: two bands of 8 rows beat twelve passes over the input
    buffers = 8 * 8 * FIRST_BITS, 8 * SECOND_BITS, 1 << 12
    bits = operand_bits(product(16, 8, 12, (1, 8, 1), halo=32), *buffers)
    assert int(bits[0]) == 16 * 8 * FIRST_BITS + 32 + 2 * 8 * 12 * SECOND_BITS


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=6))
def test_whole_bytes_add_up_and_stay_within_a_byte(bits: list[int]) -> None:
    found = whole_bytes(bits)
    assert sum(found) == -(-sum(bits) // 8)
    assert all(abs(8 * size - exact) < 8 for size, exact in zip(found, bits, strict=True))


@pytest.mark.parametrize("dataflow", ["os", "ws", "is"])
@pytest.mark.parametrize("size_kb", [1, 4, 64])
def test_bytes_of_the_operands_are_those_of_the_cost(dataflow: str, size_kb: int) -> None:
    sizes = dict.fromkeys(("input_buffer_kb", "weight_buffer_kb", "output_buffer_kb"), size_kb)
    accelerator = Accelerator(mac_rows=8, mac_cols=8, dataflow=dataflow, **sizes)
    block = mobile_block(activation_bits=5)
    placements, _ = place(block, accelerator, load_board(accelerator.board).dsp_type)
    moved = dict(zip(block.layers, layer_traffic(placements, accelerator), strict=True))
    costs = {layer.name: layer for layer in estimate(block, accelerator).layers}
    for layer, traffic in moved.items():
        assert traffic.total == costs[layer.name].dram_bytes
        weights = -(-layer.weight_elements * layer.weight_bits // 8)
        assert traffic.weight_bytes >= weights - 1
        tiling = traffic.tiling
        if layer.name == "dw":
            assert tiling is None
            continue
        assert tiling is not None
        half = size_kb * 1024
        assert max(tiling.input_bytes, tiling.weight_bytes, tiling.output_bytes) <= half
        tile = (tiling.m, tiling.k, tiling.n)
        for whole, part, count in zip(
            (layer.m, layer.k, layer.n), tile, tiling.counts, strict=True
        ):
            assert (count - 1) * part < whole <= count * part
        assert tiling.loop_order in (("m", "n", "k"), ("n", "m", "k"))
