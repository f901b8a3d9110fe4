"""Cycles and DRAM bytes of every operation on accelerators of the template.

Buffers are double: while the engine works on one tile, the DRAM moves the next, and the vector
unit finishes the last. A layer therefore takes the longest of the three. Layers run one after
another, each reading its operands from DRAM and writing its result there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from costmodels import systolic
from costmodels.board import Board
from costmodels.cost import BOUNDS, ChainCost, LayerCost
from costmodels.engines import Placement, Plan
from costmodels.grid import Grid
from costmodels.systolic import Integers, ceil_div
from costmodels.tiling import dram_bytes
from costmodels.vector_unit import (
    cycles_by_lanes,
    function_of,
    fused_cycles_by_lanes,
    operation_bytes,
)
from costmodels.workload import MatrixLayer, VectorOperation, Workload

# From layers on arrays, rows and columns of theirs on each accelerator, shape (accelerators,
# layers), and the dataflow to cycles of the same shape, all repeats included.
ArrayCycles = Callable[[Sequence[Placement], Integers, Integers, str], Integers]
_Number = TypeVar("_Number", np.int64, np.float64)
_FIGURES = ("cycles", "compute_cycles", "vector_cycles", "dram_cycles", "dram_bytes")


@dataclass(frozen=True)
class Chained:
    """What chains change in the timing of their operations (`chains.fuse_chains`).

    Arrays have shape (accelerators, operations), as in `Timing`.

    Attributes:
        names: Names of the chains.
        chain: Which of the chains an operation runs in, -1 where it runs alone.
        cycles: Its share of the chain's cycles.
        span: All of the chain's cycles.
        bound: Which of array, vector and DRAM bounds the chain: 0, 1 or 2.
        costs: Gives the chains that one of the accelerators runs.
    """

    names: tuple[str, ...]
    chain: Integers
    cycles: Integers
    span: Integers
    bound: NDArray[np.intp]
    costs: Callable[[int], tuple[ChainCost, ...]]


@dataclass(frozen=True)
class Timing:
    """Cycles and bytes of every operation on every accelerator of a grid.

    Arrays have shape (accelerators, operations): the matrix layers, then the vector operations that
    are not fused into one; `order` sorts them by execution. What they hold is said in `LayerCost`.

    Attributes:
        names: Names of the operations.
        engines: Their engines.
        macs: Their multiply-accumulates, shape (operations,).
        capacity: Multiply-accumulates a cycle of their engines, 1 of the vector unit.
        compute_cycles: Cycles of the engine alone.
        vector_cycles: Cycles of the vector unit.
        dram_cycles: Cycles of the DRAM.
        dram_bytes: Bytes moved.
        order: Indices of the operations as they are executed.
        chained: What chains change, None where there are none.
    """

    names: tuple[str, ...]
    engines: tuple[str, ...]
    macs: Integers
    capacity: NDArray[np.float64]
    compute_cycles: Integers
    vector_cycles: Integers
    dram_cycles: Integers
    dram_bytes: Integers
    order: tuple[int, ...]
    chained: Chained | None = None

    @cached_property
    def cycles(self) -> Integers:
        """Clock cycles from first to last, or the share of the chain's."""
        alone = np.maximum(np.maximum(self.compute_cycles, self.vector_cycles), self.dram_cycles)
        if self.chained is None:
            return alone
        return np.where(self.chained.chain < 0, alone, self.chained.cycles)

    @property
    def bound(self) -> NDArray[np.intp]:
        """Which of array, vector and DRAM sets the cycles: 0, 1 or 2, the first where equal."""
        busy = np.array([self.compute_cycles, self.vector_cycles, self.dram_cycles])
        alone = busy.argmax(axis=0)
        if self.chained is None:
            return alone
        return np.where(self.chained.chain < 0, alone, self.chained.bound)

    @property
    def utilisation(self) -> NDArray[np.float64]:
        """Multiply-accumulates over the engine's capacity in the cycles, all of a chain's."""
        cycles = self.cycles
        if self.chained is not None:
            cycles = np.where(self.chained.chain < 0, cycles, self.chained.span)
        return self.macs / (cycles * self.capacity)

    def figure(self, name: str) -> NDArray[Any]:
        """Return an attribute of `LayerCost` in order of execution, (accelerators, operations)."""
        if name == "bound_by":
            return np.array(BOUNDS)[self.bound[:, self.order]]
        return getattr(self, name)[:, self.order]

    def layers(self, accelerator: int = 0) -> tuple[LayerCost, ...]:
        """Return the cost of each operation on one of the accelerators, in order of execution."""
        columns = (
            self.names,
            self.engines,
            *(getattr(self, name)[accelerator].tolist() for name in _FIGURES),
            [BOUNDS[bound] for bound in self.bound[accelerator].tolist()],
            self.utilisation[accelerator].tolist(),
            self._chain_names(accelerator),
        )
        made = list(map(LayerCost, *columns))
        return tuple([made[i] for i in self.order])

    def chains(self, accelerator: int = 0) -> tuple[ChainCost, ...]:
        """Return the chains that one of the accelerators runs, in order of execution."""
        return () if self.chained is None else self.chained.costs(accelerator)

    def _chain_names(self, accelerator: int) -> list[str | None]:
        if self.chained is None:
            return [None] * len(self.names)
        names = self.chained.names
        return [names[i] if i >= 0 else None for i in self.chained.chain[accelerator].tolist()]


def analytical_cycles(
    placements: Sequence[Placement],
    rows: Integers,
    cols: Integers,
    dataflow: str,
    *,
    drain: bool = False,
    overlap: bool = False,
) -> Integers:
    """Return the closed-form cycles of layers placed on arrays, all repeats included.

    Args:
        placements: The layers.
        rows: Rows of their arrays on each accelerator, shape (accelerators, layers).
        cols: Columns likewise.
        dataflow: "os", "ws" or "is".
        drain: As in `systolic.cycles`.
        overlap: As in `systolic.cycles`.
    """
    sizes: list[int] = []
    for placement in placements:
        layer = placement.layer
        sizes += [layer.m, layer.k, layer.n, layer.repeats]
    m, k, n, repeats = np.array(sizes, dtype=np.int64).reshape(-1, 4).T
    cycles = systolic.cycles_of_sound(m, k, n, rows, cols, dataflow, drain, overlap)
    return cycles * repeats


def time_operations(
    workload: Workload,
    planned: Plan,
    sizes: tuple[Integers, Integers],
    grid: Grid,
    board: Board,
    array_cycles: ArrayCycles = analytical_cycles,
) -> Timing:
    """Return cycles and bytes of every operation that is not fused into another.

    Args:
        workload: The network.
        planned: Its layers on their engines.
        sizes: Rows and columns of each piece's engine (`engines.engine_sizes`).
        grid: The accelerators.
        board: Their board.
        array_cycles: Cycles of layers on arrays.
    """
    fused, alone = _split(workload)
    compute = engine_cycles(planned, *sizes, grid.kind.dataflow, array_cycles)
    sides = [sum(map(side_bytes, work)) if work else 0 for work in fused]
    moved = dram_bytes(planned, grid, *sizes) + np.array(sides, dtype=np.int64)
    some, which = grid.distinct(["vector_lanes"])
    lanes = grid.column("vector_lanes")[some]
    vector = np.concatenate(
        [fused_cycles_by_lanes(fused, lanes), cycles_by_lanes(alone, lanes)], axis=1
    )
    written = np.array([operation_bytes(operation) for operation in alone], dtype=np.int64)
    size = np.concatenate([moved, np.broadcast_to(written, (len(grid), len(alone)))], axis=1)
    per_cycle = np.array([board.bytes_per_cycle(clock) for clock in grid.clock_mhz.tolist()])
    return Timing(
        names=(*[layer.name for layer in workload.layers], *[op.name for op in alone]),
        engines=(*[p.engine for p in planned.placements], *["vector"] * len(alone)),
        macs=np.array([layer.macs for layer in workload.layers] + [0] * len(alone)),
        capacity=_padded(_capacity(planned, *sizes), len(alone), 1.0),
        compute_cycles=_padded(compute, len(alone), 0),
        vector_cycles=vector[which],
        dram_cycles=np.ceil(size / per_cycle[:, None]).astype(np.int64),
        dram_bytes=size,
        order=_order(workload),
    )


def engine_cycles(
    planned: Plan, rows: Integers, cols: Integers, dataflow: str, array_cycles: ArrayCycles
) -> Integers:
    """Return the cycles of each layer on its engine, shape (accelerators, layers).

    A lane of the depthwise engine works on one channel, one multiply-accumulate a cycle. A layer
    split over both arrays takes as long as its slower part. The shift array passes once for each
    power of two that a weight is the sum of. Zero weights save no cycle.
    """
    arrays, lanes = np.flatnonzero(~planned.on_lanes), np.flatnonzero(planned.on_lanes)
    taken = np.empty_like(rows)
    if len(arrays):
        pieces = [planned.pieces[i] for i in arrays.tolist()]
        found = array_cycles(pieces, rows[:, arrays], cols[:, arrays], dataflow)
        taken[:, arrays] = found * planned.passes[arrays]
    if len(lanes):
        layers = [planned.pieces[i].layer for i in lanes]
        channels = np.array([layer.repeats * layer.n for layer in layers], dtype=np.int64)
        window = np.array([layer.m * layer.k for layer in layers], dtype=np.int64)
        taken[:, lanes] = ceil_div(channels, rows[:, lanes]) * window
    return np.maximum.reduceat(taken, planned.starts, axis=1)


def side_bytes(operation: VectorOperation) -> int:
    """Return the bytes of the operands a fused operation has besides the layer's result."""
    extra = function_of(operation).operands - 1
    return -(-operation.elements * extra * operation.input_bits // 8)


def _split(workload: Workload) -> tuple[list[list[VectorOperation]], list[VectorOperation]]:
    """Return the operations fused into each layer, and those that stand alone."""
    fused: dict[str | None, list[VectorOperation]] = {}
    for operation in workload.vector_operations:
        fused.setdefault(operation.fused_into, []).append(operation)
    return [fused.get(layer.name, []) for layer in workload.layers], fused.get(None, [])


def _order(workload: Workload) -> tuple[int, ...]:
    """Return where each priced operation is in (layers, vector operations), as executed."""
    order = []
    layers, alone = 0, len(workload.layers)
    for operation in workload.operations:
        if isinstance(operation, MatrixLayer):
            order.append(layers)
            layers += 1
        elif operation.fused_into is None:
            order.append(alone)
            alone += 1
    return tuple(order)


def _capacity(planned: Plan, rows: Integers, cols: Integers) -> NDArray[np.float64]:
    """Return `Placement.capacity` of every layer on every accelerator."""
    return np.add.reduceat(rows * cols / planned.passes, planned.starts, axis=1)


def _padded(values: NDArray[_Number], count: int, value: float) -> NDArray[_Number]:
    """Return the values of the layers followed by `value` for each operation that stands alone."""
    return np.concatenate([values, np.full((len(values), count), value, values.dtype)], axis=1)
