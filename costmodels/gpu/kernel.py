"""A kernel: what one launch computes and moves, and how much of the tensor cores it fills."""

from dataclasses import dataclass

PRECISIONS = ("fp32", "fp16", "int8", "int4")
"""Operands of a network's kernels. "int8" runs every width below 8 as INT8; "int4" packs weights
of at most 4 bits two a byte, and uses INT4 tensor cores where operands and device allow."""

TILE = 128


@dataclass(frozen=True)
class Gemm:
    """`repeats` products (rows x depth) @ (depth x cols) for one image.

    Attributes:
        rows: Rows of the result.
        cols: Columns of the result.
        depth: Length of the reduction.
        repeats: Independent products.
        precision: Precision of the operands, one of `PRECISIONS`.
    """

    rows: int
    cols: int
    depth: int
    repeats: int
    precision: str

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image."""
        return self.rows * self.cols * self.depth * self.repeats


@dataclass(frozen=True)
class Kernel:
    """One launch, for one image.

    Attributes:
        name: Name of its first operation.
        gemms: Its products on the tensor cores.
        scalar_macs: Multiply-accumulates outside the tensor cores (depthwise convolutions).
        weight_bytes: Weights read, once for any batch.
        activation_bytes: Activations read and written.
        elements: Elements that threads handle one by one: read, written, or scores of a softmax.
    """

    name: str
    gemms: tuple[Gemm, ...] = ()
    scalar_macs: int = 0
    weight_bytes: float = 0.0
    activation_bytes: float = 0.0
    elements: int = 0


def tile_utilisation(rows: int, cols: int, repeats: int, batch: int, multiprocessors: int) -> float:
    """Return the useful share of the tiles that whole waves over the multiprocessors compute.

    Tiles are 128 x 128, or the next power of two, at least 16, for smaller products. A batch makes
    a single product taller and repeated products more.
    """
    if repeats == 1:
        rows, batch = rows * batch, 1
    tile_rows, tile_cols = _tile(rows), _tile(cols)
    tiles = -(-rows // tile_rows) * -(-cols // tile_cols) * repeats * batch
    per_wave = multiprocessors * (TILE * TILE // (tile_rows * tile_cols))
    waves = -(-tiles // per_wave)
    return rows * cols * repeats * batch / (waves * per_wave * tile_rows * tile_cols)


def _tile(size: int) -> int:
    return min(TILE, max(16, 1 << (size - 1).bit_length()))
