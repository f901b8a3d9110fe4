"""How each matrix layer is cut into tiles for the buffers, and the DRAM bytes that this moves."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels.accelerator import Accelerator
from costmodels.engines import Placement, Plan, filling_tile
from costmodels.grid import ARRAYS, BUFFERS, Grid
from costmodels.systolic import Integers, ceil_div
from costmodels.traffic import Products, Tilings, best_tilings
from costmodels.workload import MatrixLayer

# Bits per output channel: int32 bias, 16-bit multiplier, 6-bit shift, each a whole byte in DRAM.
CONSTANT_BITS = 56


@dataclass(frozen=True)
class Tiling:
    """The tiles of one product of a layer; each of its `repeats` products is cut alike.

    Attributes:
        m: Rows of a tile of the product (output pixels of a convolution).
        k: Length of the reduction in a tile.
        n: Columns of a tile (output channels).
        counts: Tiles along m, k and n.
        loop_order: The three tile loops, outermost first; the reduction "k" is innermost, so that
            partial sums stay on the chip.
        input_bytes: What a tile of the first operand occupies in its half of the input buffer.
        weight_bytes: Likewise of the second operand in the weight buffer.
        output_bytes: Likewise of partial sums in the output buffer. Where the smallest tile that
            the array works on is larger than a half, the array's registers hold it and it passes
            through the whole half.
        halo_bytes: Input rows that two neighbouring bands of output rows both read; each band
            reads them anew, on top of its own share.
    """

    m: int
    k: int
    n: int
    counts: tuple[int, int, int]
    loop_order: tuple[str, str, str]
    input_bytes: int
    weight_bytes: int
    output_bytes: int
    halo_bytes: int


@dataclass(frozen=True)
class Traffic:
    """The DRAM bytes of one matrix layer, all repeats, without operands of fused operations.

    Whole bytes that add up to `total`; each is within a byte of its bits over 8.

    Attributes:
        input_bytes: Read for the first operand.
        weight_bytes: Read for the second operand.
        constant_bytes: Read for biases, multipliers and shifts.
        output_bytes: Written.
        tiling: The tiles; None on the depthwise engine, through which operands stream once.
    """

    input_bytes: int
    weight_bytes: int
    constant_bytes: int
    output_bytes: int
    tiling: Tiling | None

    @property
    def total(self) -> int:
        """Bytes moved."""
        return self.input_bytes + self.weight_bytes + self.constant_bytes + self.output_bytes


def dram_bytes(planned: Plan, grid: Grid, rows: Integers, cols: Integers) -> Integers:
    """Return the bytes each layer moves: operands at the best tiling, constants and results.

    Args:
        planned: The layers on their engines.
        grid: The accelerators.
        rows: Rows of each piece's engine on each accelerator, as `engine_sizes` gives them.
        cols: Columns likewise.

    Returns:
        Bytes, shape (accelerators, layers).
    """
    columns = _columns(planned.placements)
    firsts, same = _distinct_layers(planned.placements, columns)
    some, which = grid.distinct((*ARRAYS, *BUFFERS))
    at = some[:, None], planned.starts[firsts]
    halves = _half_bits(grid)[some]
    _, _, bits = _tiled(columns[:, firsts], rows[at], cols[at], halves, grid.kind.dataflow)
    return ceil_div(bits.sum(axis=2), 8)[which[:, None], same]


def _distinct_layers(
    placements: Sequence[Placement], columns: Integers
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return one layer of each kind whose tiles and bits are the same, and which stands for which.

    Networks repeat their blocks.
    """
    found: dict[object, int] = {}
    kinds = [
        (placement.engine, placement.packed, *row)
        for placement, row in zip(placements, columns.T.tolist(), strict=True)
    ]
    first = [found.setdefault(kind, i) for i, kind in enumerate(kinds)]
    firsts = np.array(list(found.values()), dtype=np.intp)
    return firsts, np.searchsorted(firsts, first)


def layer_traffic(placements: Sequence[Placement], accelerator: Accelerator) -> list[Traffic]:
    """Return the bytes of each operand of each layer and the tiling behind them.

    The totals are those of `dram_bytes` on this accelerator.
    """
    if not placements:
        return []
    halves = _half_bits(Grid.of(accelerator))
    sizes = np.array([[(p.rows, p.cols) for p in placements]], dtype=np.int64)
    products, tilings, bits = _tiled(
        _columns(placements), sizes[..., 0], sizes[..., 1], halves, accelerator.dataflow
    )
    tiles = _tiles(products, tilings, halves[0])
    moved = []
    for placement, row, tile in zip(placements, bits[0].tolist(), tiles, strict=True):
        first, second, constants, outputs = whole_bytes(row)
        tiling = None if placement.engine == "depthwise" else tile
        moved.append(Traffic(first, second, constants, outputs, tiling))
    return moved


def whole_bytes(bits: Sequence[int]) -> list[int]:
    """Return whole bytes for numbers of bits, such that they add up to the rounded-up total."""
    ends = [-(-sum(bits[: i + 1]) // 8) for i in range(len(bits))]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def _tiled(
    columns: Integers,
    rows: Integers,
    cols: Integers,
    halves: Integers,
    dataflow: str,
) -> tuple[Products, Tilings, Integers]:
    """Return products, tilings and bits, of each layer on each accelerator.

    Args:
        columns: What `_columns` says of the layers.
        rows: Rows of their engines, shape (accelerators, layers).
        cols: Columns likewise.
        halves: Bits of a half of the three buffers, shape (accelerators, 3).
        dataflow: "os", "ws" or "is".

    Returns:
        Products and tilings of length accelerators x layers, and the bits of input, weights,
        constants and output, shape (accelerators, layers, 4).
    """
    repeats, constants, outputs = columns[7:10]
    streamed = columns[10].astype(bool)
    products = _products(columns[:7], streamed, rows, cols, dataflow)
    tilings = best_tilings(products, *np.repeat(halves, rows.shape[1], axis=0).T)
    bits = np.empty((*rows.shape, 4), dtype=np.int64)
    for i, name in enumerate(("first_bits", "second_bits")):
        tiled = getattr(tilings, name).reshape(rows.shape)
        bits[..., i] = np.where(streamed, columns[3 + i], tiled) * repeats
    bits[..., 2], bits[..., 3] = constants, outputs
    return products, tilings, bits


def _half_bits(grid: Grid) -> Integers:
    return grid.columns(BUFFERS) * 8192


def _columns(placements: Sequence[Placement]) -> Integers:
    """Return the numbers that the layers' tiles and bits follow from, shape (11, layers).

    These are m, k, n; bits of both operands, of the halo and of a sum; repeats; bits of constants
    and of outputs; 1 on the depthwise engine.
    """
    rows: list[int] = []
    for placement in placements:
        layer, repeats = placement.layer, placement.layer.repeats
        first = -(-layer.input_elements // repeats) * layer.activation_bits
        second = -(-layer.weight_elements // repeats) * layer.weight_bits
        constants = 0 if layer.kind == "matmul" else CONSTANT_BITS * layer.n * repeats
        outputs = layer.output_elements * layer.output_bits
        halo = _halo_bits(layer) if layer.in_height else 0
        rows += [layer.m, layer.k, layer.n, first, second, halo, placement.accumulator_bits]
        rows += [repeats, constants, outputs, placement.engine == "depthwise"]
    return np.array(rows, dtype=np.int64).reshape(-1, 11).T


def _products(
    columns: Integers, streamed: NDArray[np.bool_], rows: Integers, cols: Integers, dataflow: str
) -> Products:
    shaped = np.empty((10, *rows.shape), dtype=np.int64)
    shaped[:7] = columns[:, None]
    shaped[7], shaped[8], shaped[9] = filling_tile(rows, cols, dataflow)
    np.copyto(shaped[7::2], 1, where=streamed)
    np.copyto(shaped[8], columns[1], where=streamed)
    np.minimum(shaped[7:], shaped[:3], out=shaped[7:])
    return Products(*shaped.reshape(10, -1))


def _halo_bits(layer: MatrixLayer) -> int:
    """Return the bits of input rows that two neighbouring bands of output rows both read."""
    shared_rows = max(0, layer.kernel_height - layer.stride_height)
    channels = layer.in_channels // layer.repeats
    return shared_rows * layer.in_width * channels * layer.activation_bits


def _tiles(p: Products, t: Tilings, halves: Integers) -> Iterator[Tiling]:
    for i in range(len(p.m)):
        m, k, n = (int(column[i]) for column in (t.tile_m, t.tile_k, t.tile_n))
        whole_m, whole_k, whole_n = (int(column[i]) for column in (p.m, p.k, p.n))
        counts = (-(-whole_m // m), -(-whole_k // k), -(-whole_n // n))
        first = -(-m * k * int(p.first_bits[i]) // (whole_m * whole_k))
        second = -(-k * n * int(p.second_bits[i]) // (whole_k * whole_n))
        sums = m * n * int(p.accumulator_bits[i])
        inputs, weights, outputs = (
            -(-min(pair) // 8) for pair in zip((first, second, sums), halves.tolist(), strict=True)
        )
        order = ("m", "n", "k") if t.rows_outermost[i] else ("n", "m", "k")
        halo = -(-int(p.halo_bits[i]) // 8) if counts[0] > 1 else 0
        yield Tiling(m, k, n, counts, order, inputs, weights, outputs, halo)
