"""How long each engine is busy with each band of a chain, on every accelerator of a grid."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from costmodels.chains.bands import FIRST, LAST, MIDDLE, Cuts
from costmodels.chains.detect import Chain, Stage
from costmodels.engines import Placement, Plan
from costmodels.grid import ARRAYS, Grid
from costmodels.latency import ArrayCycles, engine_cycles
from costmodels.systolic import Integers
from costmodels.vector_unit import fused_cycles_by_lanes
from costmodels.workload import VectorOperation

ENGINES = ("mac_array", "shift_array", "depthwise", "vector", "dram")
VECTOR, DRAM = ENGINES.index("vector"), ENGINES.index("dram")


@dataclass(frozen=True)
class Hardware:
    """A grid's accelerators as a chain sees them.

    Attributes:
        planned: The layers of the network on their engines.
        rows: Rows of each piece's engine, shape (accelerators, pieces).
        cols: Columns likewise.
        grid: The accelerators.
        bits_per_cycle: What their DRAM moves, shape (accelerators,).
        array_cycles: Cycles of layers on arrays.
    """

    planned: Plan
    rows: Integers
    cols: Integers
    grid: Grid
    bits_per_cycle: NDArray[np.float64]
    array_cycles: ArrayCycles


def busy_cycles(
    chain: Chain, cuts: Cuts, resident: NDArray[np.bool_], hardware: Hardware
) -> list[Integers]:
    """Return the cycles of each stage's bands, shape (3, engines, accelerators, cuts)."""
    shape = (3, len(ENGINES), *resident.shape)
    busy = [np.zeros(shape, dtype=np.int64) for _ in chain.stages]
    _add_engines(busy, chain, cuts, hardware)
    per_cycle = hardware.bits_per_cycle[:, None]
    lanes_of, which = hardware.grid.distinct(["vector_lanes"])
    lanes = hardware.grid.column("vector_lanes")[lanes_of]
    for place, stage in enumerate(chain.stages):
        works = [
            _work(stage, chain.units, int(rows)) for kinds in cuts.rows[:, place] for rows in kinds
        ]
        taken = fused_cycles_by_lanes(works, lanes).reshape(len(lanes), -1, 3)[which]
        static = cuts.stage_static_bits[place]
        for kind in (FIRST, MIDDLE, LAST):
            bits = cuts.flow_bits[:, place, kind] + _static_of_band(
                static, cuts, resident, kind, chain.units
            )
            busy[place][kind, VECTOR] = taken[..., kind]
            busy[place][kind, DRAM] = np.ceil(bits / per_cycle)
    return busy


def _static_of_band(
    static: Any, cuts: Cuts, resident: NDArray[np.bool_], kind: int, units: int
) -> Integers:
    """Return the bits of weights that a band of a kind waits for, shape (accelerators, cuts).

    Those that stay are read with the first band; keys and values of the next head come while this
    one's bands are worked on, evenly.
    """
    if units > 1:
        once = -(-static // cuts.bands)
    elif kind == LAST:
        once = np.where(cuts.bands == 1, static, 0)
    else:
        once = np.full(len(cuts.bands), static if kind == FIRST else 0)
    return np.where(resident, once, static)


def _add_engines(busy: list[Integers], chain: Chain, cuts: Cuts, hardware: Hardware) -> None:
    """Add the cycles of arrays and depthwise engine, each distinct product worked out once."""
    planned = hardware.planned
    jobs: dict[tuple[int, int], int] = {}
    pieces: list[Placement] = []
    wanted = []
    for place, stage in enumerate(chain.stages):
        for i in _pieces_of(stage, planned):
            for rows in np.unique(cuts.rows[:, place]).tolist():
                if rows:
                    jobs[i, rows] = len(pieces)
                    pieces.append(_banded(planned.pieces[i], stage, rows, chain.units))
            which = [
                [jobs.get((i, rows), -1) for rows in kinds]
                for kinds in cuts.rows[:, place].tolist()
            ]
            wanted.append((place, planned.pieces[i].engine, np.array(which).T))
    some, distinct = hardware.grid.distinct((*ARRAYS, "depthwise_lanes"))
    at = np.ix_(some, np.array([i for i, _ in jobs], dtype=np.intp))
    alone = Plan((), tuple(pieces), np.arange(len(pieces), dtype=np.intp), {})
    dataflow = hardware.grid.kind.dataflow
    sizes = hardware.rows[at], hardware.cols[at]
    taken = engine_cycles(alone, *sizes, dataflow, hardware.array_cycles)
    taken = np.concatenate([taken, np.zeros((len(some), 1), dtype=np.int64)], axis=1)  # -1: no rows
    for place, engine, job in wanted:
        busy[place][:, ENGINES.index(engine)] = taken[:, job].swapaxes(0, 1)[:, distinct]


def _pieces_of(stage: Stage, planned: Plan) -> Sequence[int]:
    if isinstance(stage.operation, VectorOperation):
        return ()
    ends = [*planned.starts[1:].tolist(), len(planned.pieces)]
    return range(int(planned.starts[stage.index]), ends[stage.index])


def _banded(piece: Placement, stage: Stage, rows: int, units: int) -> Placement:
    """Return a piece of a layer as that of one band."""
    size = rows * stage.rows.width
    layer = replace(piece.layer, repeats=piece.layer.repeats // units)
    layer = replace(layer, n=size) if stage.rows.along == "n" else replace(layer, m=size)
    return replace(piece, layer=layer)


def _work(stage: Stage, units: int, rows: int) -> list[VectorOperation]:
    """Return the vector work of a band."""
    if rows == 0:
        return []
    whole = units * stage.rows.count
    return [replace(op, elements=op.elements // whole * rows) for op in stage.works]
