"""DRAM traffic of a matrix product, from the tiling that the buffers allow.

The product is computed tile by tile; a tile of each operand sits in one half of its double buffer
while the other half is filled. Partial sums never leave the chip, so the reduction is the innermost
of the three tile loops and the loop over rows or the one over columns is outermost:

    reduction whole in the buffers      A once, W once for each row of tiles       (rows outermost)
                                        W once, A once for each column of tiles    (columns)
    reduction cut                       A for each column, W for each row of tiles

A tile that stays in place is not read again. The cheapest is taken; tiles are no smaller than what
the array works on at once, and a tile of that size always fits (the array's own registers hold it).
"""

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from costmodels.systolic import Integers, ceil_div

_MAX_CUTS = 64
_AT_ONCE = 512  # products whose cuts stay in the cache


@dataclass(frozen=True)
class Products:
    """Matrix products (M x K) @ (K x N) to be tiled; every attribute is an array of one length.

    Attributes:
        m: Rows of the product.
        k: Length of the reduction.
        n: Columns of the product.
        first_bits: Bits of the whole first operand in DRAM (for a convolution each pixel once).
        second_bits: Bits of the whole second operand.
        halo_bits: Bits of the first operand that two neighbouring tiles of rows both read.
        accumulator_bits: Width of a partial sum.
        min_m: Rows of the smallest tile.
        min_k: Reduction length of the smallest tile.
        min_n: Columns of the smallest tile.
    """

    m: Integers
    k: Integers
    n: Integers
    first_bits: Integers
    second_bits: Integers
    halo_bits: Integers
    accumulator_bits: Integers
    min_m: Integers
    min_k: Integers
    min_n: Integers


@dataclass(frozen=True)
class Tilings:
    """How products are cut into tiles, and what that moves; arrays of one length.

    Attributes:
        tile_m: Rows of a tile of the product.
        tile_k: Reduction length of a tile.
        tile_n: Columns of a tile.
        rows_outermost: Whether the loop over rows is the outermost, else the one over columns is;
            the reduction is the innermost.
        first_bits: DRAM bits read for the first operand.
        second_bits: DRAM bits read for the second operand.
    """

    tile_m: Integers
    tile_k: Integers
    tile_n: Integers
    rows_outermost: NDArray[np.bool_]
    first_bits: Integers
    second_bits: Integers

    @property
    def bits(self) -> Integers:
        """DRAM bits read for both operands."""
        return self.first_bits + self.second_bits


def best_tilings(
    products: Products,
    input_bits: int | Integers,
    weight_bits: int | Integers,
    output_bits: int | Integers,
) -> Tilings:
    """Return the tiling of each product that reads the fewest DRAM bits.

    Args:
        products: The products.
        input_bits: Size in bits of one half of the input buffer, one for all products or each.
        weight_bits: Size in bits of one half of the weight buffer, likewise.
        output_bits: Size in bits of one half of the output buffer, which holds partial sums.
    """
    p = products
    # capacities in elements of the m x k, k x n and m x n planes
    first = np.maximum(input_bits * (p.m * p.k) // np.maximum(p.first_bits, 1), p.min_m * p.min_k)
    second = np.maximum(
        weight_bits * (p.k * p.n) // np.maximum(p.second_bits, 1), p.min_k * p.min_n
    )
    sums = np.maximum(output_bits // p.accumulator_bits, p.min_m * p.min_n)
    whole = (p.min_m * p.k <= first) & (p.k * p.min_n <= second)
    rows, columns = (
        outermost(p, first, second, sums) for outermost in (_rows_outermost, _columns_outermost)
    )
    best = _where(rows.bits <= columns.bits, rows, columns)
    least = _least_with_cut_reduction(p, first, second, sums)
    pending = np.flatnonzero(~whole | (best.bits > least))
    for start in range(0, len(pending), _AT_ONCE):
        cut = pending[start : start + _AT_ONCE]
        tried = _cut_reduction(_at(p, cut), first[cut], second[cut], sums[cut])
        better = ~whole[cut] | (tried.bits < best.bits[cut])
        _put(best, cut[better], _at(tried, better))
    return best


_Columns = TypeVar("_Columns", Products, Tilings)


def _at(columns: _Columns, where: NDArray[Any]) -> _Columns:
    return type(columns)(*(column[where] for column in vars(columns).values()))


def _put(columns: Tilings, where: NDArray[np.intp], values: Tilings) -> None:
    for column, value in zip(vars(columns).values(), vars(values).values(), strict=True):
        column[where] = value


def _where(condition: NDArray[np.bool_], yes: Tilings, no: Tilings) -> Tilings:
    pairs = zip(vars(yes).values(), vars(no).values(), strict=True)
    return Tilings(*(np.where(condition, *pair) for pair in pairs))


def _within(sizes: Integers, most: Integers) -> Integers:
    """Return the sizes, but 1 at least and `most` at most; for few, quicker than `np.clip`."""
    return np.minimum(np.maximum(sizes, 1), most)


def _least_with_cut_reduction(
    p: Products, first: Integers, second: Integers, sums: Integers
) -> Integers:
    """Return a bound on the bits that any tiling of a cut reduction reads: both sizes at most.

    It spares the search where tiles of the whole reduction are at least as good.
    """
    height = _within(np.minimum(first // p.min_k, sums // p.min_n), p.m)
    width = _within(np.minimum(second // p.min_k, sums // p.min_m), p.n)
    return ceil_div(p.m, height) * p.second_bits + ceil_div(p.n, width) * p.first_bits


def _rows_outermost(p: Products, first: Integers, second: Integers, sums: Integers) -> Tilings:
    """Return tiles of the whole reduction, the tallest: they read the weights least often."""
    height = _within(np.minimum(first // p.k, sums // p.min_n), p.m)
    width = _within(np.minimum(second // p.k, sums // height), p.n)
    rows = ceil_div(p.m, height)
    read = p.first_bits + (rows - 1) * p.halo_bits
    return Tilings(height, p.k, width, np.ones(len(rows), bool), read, rows * p.second_bits)


def _columns_outermost(p: Products, first: Integers, second: Integers, sums: Integers) -> Tilings:
    """Return tiles of the whole reduction, the widest: they read the activations least often."""
    width = _within(np.minimum(second // p.k, sums // p.min_m), p.n)
    height = _within(np.minimum(first // p.k, sums // width), p.m)
    columns = ceil_div(p.n, width)
    read = columns * (p.first_bits + (ceil_div(p.m, height) - 1) * p.halo_bits)
    return Tilings(height, p.k, width, np.zeros(len(columns), bool), read, p.second_bits)


def _cut_reduction(p: Products, first: Integers, second: Integers, sums: Integers) -> Tilings:
    """Return the best of tiles of a part of the reduction, by trying heights from the tallest."""
    most_m = _within(np.minimum(first // p.min_k, sums // p.min_n), p.m)
    fewest = ceil_div(p.m, most_m)
    tried = np.max(ceil_div(p.m, p.min_m) - fewest) + 1  # more rows of tiles would be as high
    rows = fewest[:, None] + np.arange(min(tried, _MAX_CUTS), dtype=np.int64)
    heights = np.maximum(ceil_div(p.m[:, None], rows), p.min_m[:, None])
    rows = ceil_div(p.m[:, None], heights)
    widths = np.minimum((second // p.min_k)[:, None], sums[:, None] // heights)
    widths = _within(widths, p.n[:, None])
    overlap = (rows - 1) * p.halo_bits[:, None]
    reads = ceil_div(p.n[:, None], widths) * (p.first_bits[:, None] + overlap)
    best = np.argmin(reads + rows * p.second_bits[:, None], axis=1)
    at = np.arange(len(best)), best
    height, width = heights[at], widths[at]
    depth = np.minimum(np.minimum(first // height, second // width), p.k)
    weights = rows[at] * p.second_bits
    return Tilings(height, depth, width, np.ones(len(best), bool), reads[at], weights)
