"""DRAM traffic against an exhaustive search that plays the tile loops."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from costmodels.traffic import Products, operand_bits

SUM_BITS, FIRST_BITS, SECOND_BITS = 16, 4, 8


def product(m: int, k: int, n: int, smallest: tuple[int, int, int], halo: int = 0) -> Products:
    values = (m, k, n, m * k * FIRST_BITS, k * n * SECOND_BITS, halo, SUM_BITS, *smallest)
    return Products(*(np.array([value], dtype=np.int64) for value in values))


def played(m: int, k: int, n: int, tile: tuple[int, int, int], rows_outer: bool) -> int:
    """Run the tile loops and add up the bits of each tile that is not the one in place."""
    tile_m, tile_k, tile_n = tile
    spans = [range(0, size, step) for size, step in ((m, tile_m), (n, tile_n), (k, tile_k))]
    outer, inner = (spans[0], spans[1]) if rows_outer else (spans[1], spans[0])
    first = second = None
    total = 0
    for a, b, reduction in itertools.product(outer, inner, spans[2]):
        row, column = (a, b) if rows_outer else (b, a)
        if first != (row, reduction):
            first = (row, reduction)
            total += min(tile_m, m - row) * min(tile_k, k - reduction) * FIRST_BITS
        if second != (reduction, column):
            second = (reduction, column)
            total += min(tile_k, k - reduction) * min(tile_n, n - column) * SECOND_BITS
    return total


def brute_force(
    m: int, k: int, n: int, smallest: tuple[int, int, int], buffers: tuple[int, int, int]
) -> int:
    least = [min(size, minimum) for size, minimum in zip((m, k, n), smallest, strict=True)]
    capacity = [
        max(buffers[0] // FIRST_BITS, least[0] * least[1]),
        max(buffers[1] // SECOND_BITS, least[1] * least[2]),
        max(buffers[2] // SUM_BITS, least[0] * least[2]),
    ]
    sizes = [range(minimum, size + 1) for minimum, size in zip(least, (m, k, n), strict=True)]
    return min(
        played(m, k, n, (tile_m, tile_k, tile_n), rows_outer)
        for tile_m, tile_k, tile_n in itertools.product(*sizes)
        if tile_m * tile_k <= capacity[0]
        and tile_k * tile_n <= capacity[1]
        and tile_m * tile_n <= capacity[2]
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
    found = int(operand_bits(product(m, k, n, least), *buffers)[0])  # type: ignore[arg-type]
    assert found == brute_force(m, k, n, smallest, buffers)


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
