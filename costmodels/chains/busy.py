"""How long each engine is busy with each band of a chain, on every accelerator of a grid."""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from costmodels.chains.bands import FIRST, LAST, MIDDLE, Cuts
from costmodels.chains.detect import Chain, Stage
from costmodels.engines import Placement, Plan
from costmodels.grid import ARRAYS, BUFFERS, Grid
from costmodels.latency import ArrayCycles, engine_cycles
from costmodels.packing import Packing
from costmodels.systolic import Integers
from costmodels.vector_unit import fused_cycles_by_lanes
from costmodels.workload import MatrixLayer, VectorOperation

VECTOR, DRAM = -2, -1
"""Places of the vector unit and the DRAM among the engines of a chain."""


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

    @cached_property
    def sizes(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """An accelerator of each set of engines, and which of them each accelerator has."""
        return self.grid.distinct((*ARRAYS, "depthwise_lanes"))

    @cached_property
    def lanes(self) -> tuple[Integers, NDArray[np.intp]]:
        """Each number of vector lanes, and which of them each accelerator has."""
        some, which = self.grid.distinct(["vector_lanes"])
        return self.grid.column("vector_lanes")[some], which

    @cached_property
    def half_bits(self) -> Integers:
        """Bits of a half of the three buffers, shape (accelerators, 3)."""
        return self.grid.columns(BUFFERS) * 8192


@dataclass(frozen=True)
class _Jobs:
    """The distinct pieces of work among all bands of all cuts of a chain.

    Attributes:
        pieces: A band's share of a layer on one engine, whose size is not in it.
        places: Which piece of `Plan.pieces` each is a share of.
        engines: Of each stage's pieces: the stage, the engine's place among those used, and the job
            of each band, shape (3, cuts); -1 where a band has no rows.
        works: A band's work of the vector unit.
        works_at: The work of each stage's bands, shape (stages, 3, cuts).
        used: Number of arrays and depthwise engines that are used.
    """

    pieces: tuple[Placement, ...]
    places: NDArray[np.intp]
    engines: tuple[tuple[int, int, NDArray[np.intp]], ...]
    works: tuple[tuple[VectorOperation, ...], ...]
    works_at: NDArray[np.intp]
    used: int


def busy_cycles(
    chain: Chain, cuts: Cuts, resident: NDArray[np.bool_], hardware: Hardware
) -> list[Integers]:
    """Return the cycles of each stage's bands, shape (3, engines, accelerators, cuts).

    The engines are the arrays and the depthwise engine as far as the chain uses them, then the
    vector unit, then the DRAM.
    """
    jobs = _jobs(chain, cuts, _pieces(chain, hardware.planned))
    shape = (3, jobs.used + 2, *resident.shape)
    busy = [np.zeros(shape, dtype=np.int64) for _ in chain.stages]
    taken = _engine_cycles(jobs, hardware)
    for place, engine, job in jobs.engines:
        busy[place][:, engine] = taken[:, job].swapaxes(0, 1)
    lanes, which = hardware.lanes
    vector = fused_cycles_by_lanes(jobs.works, lanes)[which]
    for place in range(len(chain.stages)):
        busy[place][:, VECTOR] = vector[:, jobs.works_at[place]].swapaxes(0, 1)
        static = cuts.stage_static_bits[place]
        for kind in (FIRST, MIDDLE, LAST):
            waited = _static_of_band(static, cuts, resident, kind, chain.units)
            bits = cuts.flow_bits[:, place, kind] + waited
            busy[place][kind, DRAM] = np.ceil(bits / hardware.bits_per_cycle[:, None])
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


def _engine_cycles(jobs: _Jobs, hardware: Hardware) -> Integers:
    """Return the cycles of the jobs of arrays and depthwise engine, and of none, as the last."""
    some, which = hardware.sizes
    at = np.ix_(some, jobs.places)
    planned = Plan((), jobs.pieces, np.arange(len(jobs.pieces), dtype=np.intp), {})
    sizes = hardware.rows[at], hardware.cols[at]
    taken = engine_cycles(planned, *sizes, hardware.grid.kind.dataflow, hardware.array_cycles)
    return np.concatenate([taken, np.zeros((len(some), 1), dtype=np.int64)], axis=1)[which]


_Piece = tuple[int, int, str, MatrixLayer, int]


def _pieces(chain: Chain, planned: Plan) -> tuple[_Piece, ...]:
    """Return of every piece of the chain's layers: stage, place, engine, layer, width of sums."""
    ends = [*planned.starts[1:].tolist(), len(planned.pieces)]
    pieces = planned.pieces
    return tuple(
        (place, i, pieces[i].engine, pieces[i].layer, pieces[i].accumulator_bits)
        for place, stage in enumerate(chain.stages)
        if stage.index < len(ends)
        for i in range(int(planned.starts[stage.index]), ends[stage.index])
    )


@lru_cache(maxsize=1024)
def _jobs(chain: Chain, cuts: Cuts, placed: tuple[_Piece, ...]) -> _Jobs:
    rows = cuts.rows.transpose(1, 2, 0)
    used = sorted({engine for _, _, engine, _, _ in placed})
    pieces: list[Placement] = []
    places: list[int] = []
    engines = []
    for place, i, engine, layer, sums in placed:
        sizes, job = np.unique(rows[place], return_inverse=True)
        stage, first = chain.stages[place], len(pieces) - (sizes[0] == 0)
        bands = (_banded(layer, stage, size, chain.units) for size in sizes.tolist() if size)
        pieces += [Placement(band, engine, 1, 1, Packing(1, 1), sums) for band in bands]
        places += [i] * (len(pieces) - len(places))
        job = np.where(rows[place] == 0, -1, job.reshape(rows[place].shape) + first)
        engines.append((place, used.index(engine), job))
    works: list[tuple[VectorOperation, ...]] = []
    works_at = np.empty(rows.shape, dtype=np.intp)
    for place, stage in enumerate(chain.stages):
        sizes, job = np.unique(rows[place], return_inverse=True)
        works_at[place] = job.reshape(rows[place].shape) + len(works)
        works += [_work(stage, chain.units, size) for size in sizes.tolist()]
    found = np.array(places, dtype=np.intp)
    return _Jobs(tuple(pieces), found, tuple(engines), tuple(works), works_at, len(used))


def _banded(layer: MatrixLayer, stage: Stage, rows: int, units: int) -> MatrixLayer:
    """Return a band's share of a layer."""
    size = rows * stage.rows.width
    m, n = (layer.m, size) if stage.rows.along == "n" else (size, layer.n)
    return replace(layer, m=m, n=n, repeats=layer.repeats // units)


def _work(stage: Stage, units: int, rows: int) -> tuple[VectorOperation, ...]:
    """Return the vector work of a band."""
    if rows == 0:
        return ()
    whole = units * stage.rows.count
    return tuple(replace(op, elements=op.elements // whole * rows) for op in stage.works)
