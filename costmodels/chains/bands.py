"""How a chain can be cut into bands, and what a band takes of buffers and of DRAM.

What lies where while the bands go through (bits of codes; every buffer has two halves, so that one
stage writes a band while the next reads the one before it):

    input buffer    the band of the chain's first operand, and every band that an array or the
                    depthwise engine reads, with the rows that a window needs again
    weight buffer   weights and constants of all layers, or one head's keys and values, if they fit
                    beside each other; else they stream through for every band
    output buffer   every band that the vector unit reads

Where P V is computed as its transpose, the probabilities lie in the weight buffer and the values in
the input buffer. Partial sums are where they are layer by layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from costmodels.chains.detect import Chain, Stage
from costmodels.chains.rows import Rows
from costmodels.systolic import Integers
from costmodels.tiling import CONSTANT_BITS
from costmodels.vector_unit import function_of
from costmodels.workload import MatrixLayer, VectorOperation

FIRST, MIDDLE, LAST = 0, 1, 2


@dataclass(frozen=True, eq=False)
class Cuts:
    """All ways of cutting a chain that are tried: 1, 2, 4, 8, ... bands, down to single rows.

    Attributes:
        bands: Bands in a unit, shape (cuts,).
        height: Rows of the chain's result in a band, shape (cuts,).
        rows: Rows of each stage in the first, a middle and the last band, shape (cuts, stages, 3).
            A single band is a last one. In a chain of several units, whose bands follow one another
            without a pause, all bands are taken to be as large as the largest.
        held_bits: Bits of codes in a half of the input, weight and output buffer, (cuts, 3).
        static_bits: Bits of the weights, constants, keys and values of a unit in the same, (3,).
        flow_bits: DRAM bits of a band without those, shape (cuts, stages, 3).
        stage_static_bits: DRAM bits of those of a unit, by stage, shape (stages,).
    """

    bands: Integers
    height: Integers
    rows: Integers
    held_bits: Integers
    static_bits: Integers
    flow_bits: Integers
    stage_static_bits: Integers


@lru_cache(maxsize=1024)
def cut(chain: Chain) -> Cuts:
    """Return the ways of cutting a chain that are tried."""
    whole = chain.stages[-1].rows.count
    heights = (-(-whole // (1 << i)) for i in range(whole.bit_length() + 1))
    return cut_at(chain, list(dict.fromkeys(heights)))


def cut_at(chain: Chain, wanted: Sequence[int]) -> Cuts:
    """Return a chain in bands of some heights; those are left out that a window has no room in."""
    heights, bands, rows = [], [], []
    whole = chain.stages[-1].rows.count
    for height in wanted:
        count = -(-whole // height)
        cuts = [_rows(stage.rows, height, count, chain.units) for stage in chain.stages]
        if count == 1 or min(map(min, cuts)) > 0:
            heights.append(height)
            bands.append(count)
            rows.append(cuts)
    made = np.array(rows, dtype=np.int64)
    per_row = [_flow_row_bits(chain, place) for place in range(len(chain.stages))]
    static = [_static_bits(stage) // chain.units for stage in chain.stages]
    by_buffer = np.zeros(3, dtype=np.int64)
    for stage, bits in zip(chain.stages, static, strict=True):
        by_buffer[_static_buffer(stage)] += bits
    return Cuts(
        np.array(bands, dtype=np.int64),
        np.array(heights, dtype=np.int64),
        made,
        _held_bits(chain, made.max(axis=2)),
        by_buffer,
        made * np.array(per_row, dtype=np.int64)[:, None],
        np.array(static, dtype=np.int64),
    )


def band_sizes(chain: Chain, height: int) -> list[int]:
    """Return the length of each stage's product along its bands' axis in the largest band.

    Args:
        chain: The chain.
        height: Rows of its result in a band, one of those of `cut`.
    """
    cuts = cut(chain)
    rows = cuts.rows[cuts.height.tolist().index(height)].max(axis=1).tolist()
    return [stage.rows.width * count for stage, count in zip(chain.stages, rows, strict=True)]


def _rows(rows: Rows, height: int, bands: int, units: int) -> tuple[int, int, int]:
    """Return the rows of a stage in the first, a middle and the last band; 0 where there is none.

    Rows that are not above zero say that the bands are too low for the window.
    """
    each = height * rows.ratio
    if units > 1:
        return each, each, each
    if bands == 1:
        return 0, 0, rows.count
    return each - rows.lag, each, rows.count - (bands - 1) * each + rows.lag


def _held_bits(chain: Chain, most: Integers) -> NDArray[np.int64]:
    """Return the bits of codes in a half of each buffer, from the largest rows (cuts, stages)."""
    held = np.zeros((len(most), 3), dtype=np.int64)
    for place, stage in enumerate(chain.stages):
        if place == 0:
            rows, bits = most[:, 0], _operand_bits(stage.operation, 0)
            rows = rows + _kept_of_result(stage)
            row_bits = -(-bits // (chain.units * stage.rows.count))
        else:
            before = chain.stages[place - 1]
            rows = most[:, place - 1] + stage.rows.kept
            row_bits = -(-_result_bits(before.operation) // (chain.units * before.rows.count))
        held[:, _buffer(stage)] += rows * row_bits
    return held


def _kept_of_result(stage: Stage) -> int:
    """Return a window's kept rows as rows of the result; the first operand is counted in those."""
    layer = stage.operation
    stride = layer.stride_height if isinstance(layer, MatrixLayer) else 1
    return -(-stage.rows.kept // stride)


def _buffer(stage: Stage) -> int:
    """Return the buffer that holds the band a stage reads: input, weight or output."""
    if isinstance(stage.operation, VectorOperation):
        return 2
    return stage.operand


def _static_buffer(stage: Stage) -> int:
    return 0 if stage.operand and isinstance(stage.operation, MatrixLayer) else 1


def _operand_bits(operation: MatrixLayer | VectorOperation, operand: int) -> int:
    assert isinstance(operation, MatrixLayer)
    if operand:
        return operation.weight_elements * operation.weight_bits
    return operation.input_elements * operation.activation_bits


def _result_bits(operation: MatrixLayer | VectorOperation) -> int:
    if isinstance(operation, VectorOperation):
        return operation.elements * operation.output_bits
    return operation.output_elements * operation.output_bits


def constant_bits(operation: MatrixLayer | VectorOperation) -> int:
    """Return the bits of a layer's biases, multipliers and shifts."""
    if isinstance(operation, VectorOperation) or operation.kind == "matmul":
        return 0
    return CONSTANT_BITS * operation.n * operation.repeats


def _static_bits(stage: Stage) -> int:
    """Return the bits of what a stage uses in every band: the other operand, and constants."""
    operation = stage.operation
    if isinstance(operation, VectorOperation):
        return 0
    return _operand_bits(operation, 1 - stage.operand) + constant_bits(operation)


def moved_bits(chain: Chain, place: int, reads: int = 1) -> tuple[int, int, int, int]:
    """Return the DRAM bits of a stage's input, weights, constants and output.

    Args:
        chain: The chain.
        place: Place of the stage in it.
        reads: Times that weights, or the keys and values of each head, are read.
    """
    stage, last = chain.stages[place], place == len(chain.stages) - 1
    operation = stage.operation
    if isinstance(operation, VectorOperation):
        return 0, 0, 0, 0
    operands = [_operand_bits(operation, i) * reads for i in (0, 1)]
    operands[stage.operand] = _operand_bits(operation, 0) if place == 0 else 0
    written = _result_bits(operation) if last else 0
    return operands[0], operands[1], constant_bits(operation) * reads, written


def side_bits(stage: Stage) -> list[int]:
    """Return the DRAM bits of further operands of each vector operation in a stage."""
    return [op.elements * (function_of(op).operands - 1) * op.input_bits for op in stage.works]


def _flow_row_bits(chain: Chain, place: int) -> int:
    """Return the DRAM bits of a row of a stage, those that are used in every band left out."""
    stage = chain.stages[place]
    read, _, _, written = moved_bits(chain, place, 0)
    bits = read + written + sum(side_bits(stage))
    return -(-bits // (chain.units * stage.rows.count))
