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

import numpy as np

from costmodels.systolic import Integers, ceil_div

_MAX_CUTS = 64


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


def operand_bits(
    products: Products, input_bits: int, weight_bits: int, output_bits: int
) -> Integers:
    """Return the DRAM bits read for both operands of each product, at the best tiling.

    Args:
        products: The products.
        input_bits: Size in bits of one half of the input buffer.
        weight_bits: Size in bits of one half of the weight buffer.
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
    never = np.iinfo(np.int64).max
    return np.minimum(
        np.where(whole, _whole_reduction(p, first, second, sums), never),
        _cut_reduction(p, first, second, sums),
    )


def _whole_reduction(p: Products, first: Integers, second: Integers, sums: Integers) -> Integers:
    most_m, most_n = np.maximum(first // p.k, 1), np.maximum(second // p.k, 1)
    # rows outermost: the tallest tiles read the weights least often
    tall = np.clip(np.minimum(most_m, sums // p.min_n), 1, p.m)
    rows = ceil_div(p.m, tall)
    rows_outer = p.first_bits + (rows - 1) * p.halo_bits + rows * p.second_bits
    # columns outermost: the widest tiles read the activations least often
    wide = np.clip(np.minimum(most_n, sums // p.min_m), 1, p.n)
    columns = ceil_div(p.n, wide)
    height = np.clip(np.minimum(most_m, sums // wide), 1, p.m)
    overlap = (ceil_div(p.m, height) - 1) * p.halo_bits
    return np.minimum(rows_outer, columns * (p.first_bits + overlap) + p.second_bits)


def _cut_reduction(p: Products, first: Integers, second: Integers, sums: Integers) -> Integers:
    most_m = np.clip(np.minimum(first // p.min_k, sums // p.min_n), 1, p.m)
    fewest = ceil_div(p.m, most_m)
    rows = fewest[:, None] + np.arange(_MAX_CUTS, dtype=np.int64)
    height = np.maximum(ceil_div(p.m[:, None], rows), p.min_m[:, None])
    rows = ceil_div(p.m[:, None], height)
    width = np.minimum((second // p.min_k)[:, None], sums[:, None] // height)
    columns = ceil_div(p.n[:, None], np.clip(width, 1, p.n[:, None]))
    overlap = (rows - 1) * p.halo_bits[:, None]
    total = columns * (p.first_bits[:, None] + overlap) + rows * p.second_bits[:, None]
    best: Integers = total.min(axis=1)
    return best
