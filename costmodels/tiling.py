"""How each matrix layer is cut into tiles for the buffers, and the DRAM bytes that this moves."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from costmodels.accelerator import Accelerator
from costmodels.engines import Placement
from costmodels.systolic import Integers
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


def dram_bytes(placements: Sequence[Placement], accelerator: Accelerator) -> list[int]:
    """Return the bytes each layer moves: operands at the best tiling, constants and results."""
    if not placements:
        return []
    _, _, bits = _tiled(placements, accelerator)
    return [-(-int(total) // 8) for total in bits.sum(axis=1)]


def layer_traffic(placements: Sequence[Placement], accelerator: Accelerator) -> list[Traffic]:
    """Return the bytes of each operand of each layer and the tiling behind them.

    The totals are those of `dram_bytes`.
    """
    if not placements:
        return []
    products, tilings, bits = _tiled(placements, accelerator)
    tiles = _tiles(products, tilings, accelerator)
    moved = []
    for placement, row, tile in zip(placements, bits.tolist(), tiles, strict=True):
        first, second, constants, outputs = whole_bytes(row)
        tiling = None if placement.engine == "depthwise" else tile
        moved.append(Traffic(first, second, constants, outputs, tiling))
    return moved


def whole_bytes(bits: Sequence[int]) -> list[int]:
    """Return whole bytes for numbers of bits, such that they add up to the rounded-up total."""
    ends = [-(-sum(bits[: i + 1]) // 8) for i in range(len(bits))]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def _tiled(
    placements: Sequence[Placement], accelerator: Accelerator
) -> tuple[Products, Tilings, Integers]:
    """Return products, tilings and the bits of input, weights, constants and output by layer."""
    products = _products(placements, accelerator.dataflow)
    tilings = best_tilings(products, *_half_bits(accelerator))
    streamed = np.array([placement.engine == "depthwise" for placement in placements])
    repeats = np.array([placement.layer.repeats for placement in placements], dtype=np.int64)
    others = [_constant_and_output_bits(placement.layer) for placement in placements]
    constants, outputs = np.array(others, dtype=np.int64).T
    first = np.where(streamed, products.first_bits, tilings.first_bits) * repeats
    second = np.where(streamed, products.second_bits, tilings.second_bits) * repeats
    return products, tilings, np.stack([first, second, constants, outputs], axis=1)


def _half_bits(accelerator: Accelerator) -> tuple[int, int, int]:
    a = accelerator
    return a.input_buffer_kb * 8192, a.weight_buffer_kb * 8192, a.output_buffer_kb * 8192


def _constant_and_output_bits(layer: MatrixLayer) -> tuple[int, int]:
    constants = 0 if layer.kind == "matmul" else CONSTANT_BITS * layer.n * layer.repeats
    return constants, layer.output_elements * layer.output_bits


def _products(placements: Sequence[Placement], dataflow: str) -> Products:
    rows = []
    for placement in placements:
        layer = placement.layer
        first = -(-layer.input_elements // layer.repeats) * layer.activation_bits
        second = -(-layer.weight_elements // layer.repeats) * layer.weight_bits
        sums, smallest = placement.accumulator_bits, placement.smallest_tile(dataflow)
        halo = _halo_bits(layer)
        rows.append((layer.m, layer.k, layer.n, first, second, halo, sums, *smallest))
    return Products(*np.array(rows, dtype=np.int64).T)


def _halo_bits(layer: MatrixLayer) -> int:
    """Return the bits of input rows that two neighbouring bands of output rows both read."""
    if not layer.in_height:
        return 0
    shared_rows = max(0, layer.kernel_height - layer.stride_height)
    channels = layer.in_channels // layer.repeats
    return shared_rows * layer.in_width * channels * layer.activation_bits


def _tiles(p: Products, t: Tilings, accelerator: Accelerator) -> Iterator[Tiling]:
    halves = _half_bits(accelerator)
    for i in range(len(p.m)):
        m, k, n = (int(column[i]) for column in (t.tile_m, t.tile_k, t.tile_n))
        whole_m, whole_k, whole_n = (int(column[i]) for column in (p.m, p.k, p.n))
        counts = (-(-whole_m // m), -(-whole_k // k), -(-whole_n // n))
        first = -(-m * k * int(p.first_bits[i]) // (whole_m * whole_k))
        second = -(-k * n * int(p.second_bits[i]) // (whole_k * whole_n))
        sums = m * n * int(p.accumulator_bits[i])
        inputs, weights, outputs = (
            -(-min(pair) // 8) for pair in zip((first, second, sums), halves, strict=True)
        )
        order = ("m", "n", "k") if t.rows_outermost[i] else ("n", "m", "k")
        halo = -(-int(p.halo_bits[i]) // 8) if counts[0] > 1 else 0
        yield Tiling(m, k, n, counts, order, inputs, weights, outputs, halo)
