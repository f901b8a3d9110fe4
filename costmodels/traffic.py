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
        weight_bits: Size in bits of one half of the weight buffer, in the same form.
        output_bits: Size in bits of one half of the output buffer, which holds partial sums.
    """
    p = products
    # Pairs hold the first operand and its axis m, then the second and n. `room` is the elements of
    # their planes with k that fit, `sums` those of the plane of sums, `most` the longest tiles.
    sizes, smallest = np.array([p.m, p.n]), np.array([p.min_m, p.min_n])
    bits = np.array([p.first_bits, p.second_bits])
    halves = np.array([input_bits, weight_bits]).reshape(2, -1)
    room = np.maximum(halves * (sizes * p.k) // np.maximum(bits, 1), smallest * p.min_k)
    sums = np.maximum(output_bits // p.accumulator_bits, p.min_m * p.min_n)
    most = sums // smallest[::-1]
    whole = np.logical_and(*(smallest * p.k <= room))
    best = _whole_reduction(p, sizes, most, room, sums)
    # No tile of a cut reduction is longer, so none reads fewer bits: it spares most searches.
    longest = _within(np.minimum(room // p.min_k, most), sizes)
    fewest = ceil_div(sizes, longest)
    least = np.add(*(fewest * bits[::-1]))
    pending = np.flatnonzero(~whole | (best.bits > least))
    for start in range(0, len(pending), _AT_ONCE):
        cut = pending[start : start + _AT_ONCE]
        tried = _cut_reduction(_at(p, cut), fewest[0, cut], room[:, cut], sums[cut])
        better = ~whole[cut] | (tried.bits < best.bits[cut])
        _put(best, cut[better], _at(tried, better))
    return best


_Columns = TypeVar("_Columns", Products, Tilings)


def _at(columns: _Columns, where: NDArray[Any]) -> _Columns:
    return type(columns)(*(column[where] for column in vars(columns).values()))


def _put(columns: Tilings, where: NDArray[np.intp], values: Tilings) -> None:
    for column, value in zip(vars(columns).values(), vars(values).values(), strict=True):
        column[where] = value


def _within(sizes: Integers, most: Integers) -> Integers:
    """Return the sizes, but 1 at least and `most` at most; for few, quicker than `np.clip`."""
    return np.minimum(np.maximum(sizes, 1), most)


def _whole_reduction(
    p: Products, sizes: Integers, most: Integers, room: Integers, sums: Integers
) -> Tilings:
    """Return the better of two tiles of the whole reduction, by what is outermost.

    The tallest tile, rows outermost, reads the weights least often; the widest, columns outermost,
    the activations. Arrays of two rows hold figures of the first, then of the second.

    Args:
        p: The products.
        sizes: Their m, then n.
        most: The longest tile along m, then along n, whose sums fit.
        room: Elements of the m x k, then of the n x k plane, that fit.
        sums: Elements of the m x n plane that fit.
    """
    longest = _within(np.minimum(room // p.k, most), sizes)
    others = _within(np.minimum(room[::-1] // p.k, sums // longest), sizes[::-1])
    rows, columns = ceil_div(sizes, longest)
    by_rows = p.first_bits + (rows - 1) * p.halo_bits
    by_columns = columns * (p.first_bits + (ceil_div(p.m, others[1]) - 1) * p.halo_bits)
    weights = rows * p.second_bits
    first = by_rows + weights <= by_columns + p.second_bits
    height = np.where(first, longest[0], others[1])
    width = np.where(first, others[0], longest[1])
    read = np.where(first, by_rows, by_columns)
    return Tilings(height, p.k.copy(), width, first, read, np.where(first, weights, p.second_bits))


def _cut_reduction(p: Products, fewest: Integers, room: Integers, sums: Integers) -> Tilings:
    """Return the best of tiles of a part of the reduction, by trying heights from the tallest.

    `fewest` is how many of the tallest there are along m; `room` and `sums` as above.
    """
    first, second = room
    rows = fewest[:, None] + np.arange(_MAX_CUTS, dtype=np.int64)
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
