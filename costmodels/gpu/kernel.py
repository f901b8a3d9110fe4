"""A kernel: what one launch computes and moves, and how much of the tensor cores it fills."""

from dataclasses import dataclass

PRECISIONS = ("fp32", "fp16", "int8", "int4")
"""Operands of a network's kernels. "int8" runs every width below 8 as INT8; "int4" packs weights
of at most 4 bits two a byte, and uses INT4 tensor cores where operands and device allow."""

TILES = (64, 128)
"""Rows, and columns, of the tiles of a product that one multiprocessor computes at a time."""


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
        kind: What a profile may have own rates for: "product", "batched_product", the same with
            "unaligned_" before it (sizes that 8 does not divide), "integer_product", "pointwise",
            "convolution", "grouped", "stem" and "patches" (convolutions of an image), "depthwise",
            "attention", "integer_attention", or the function of element-wise and row-wise work.
        rows: Rows of a norm or softmax, windows of a pool, blocks of queries of an attention.
        depth: Steps of the reduction that follow one another.
    """

    name: str
    gemms: tuple[Gemm, ...] = ()
    scalar_macs: int = 0
    weight_bytes: float = 0.0
    activation_bytes: float = 0.0
    elements: int = 0
    kind: str = ""
    rows: int = 0
    depth: int = 0


def tile_utilisation(rows: int, cols: int, repeats: int, batch: int, multiprocessors: int) -> float:
    """Return the useful share of the tiles that whole waves over the multiprocessors compute.

    Tiles have 64 or 128 rows and columns, whichever of the four leave least idle. A batch makes a
    single product taller and repeated products more.
    """
    if repeats == 1:
        rows, batch = rows * batch, 1
    useful = rows * cols * repeats * batch
    least = min(
        -(-(-(-rows // high) * -(-cols // wide) * repeats * batch) // multiprocessors) * high * wide
        for high in TILES
        for wide in TILES
    )
    return useful / (least * multiprocessors)
