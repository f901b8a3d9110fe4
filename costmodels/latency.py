"""Cycles and DRAM bytes of every operation on the accelerator template.

Buffers are double: while the engine works on one tile, the DRAM moves the next, and the vector
unit finishes the last. A layer therefore takes the longest of the three. Layers run one after
another, each reading its operands from DRAM and writing its result there.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from costmodels import systolic
from costmodels.accelerator import Accelerator
from costmodels.board import Board
from costmodels.cost import LayerCost
from costmodels.engines import Placement, array_parts
from costmodels.systolic import ceil_div
from costmodels.tiling import dram_bytes
from costmodels.vector_unit import function_of, fused_cycles, operation_bytes, operation_cycles
from costmodels.workload import MatrixLayer, VectorOperation, Workload

ArrayCycles = Callable[[Sequence[Placement], str], Sequence[int]]


def analytical_cycles(
    placements: Sequence[Placement], dataflow: str, *, drain: bool = False, overlap: bool = False
) -> list[int]:
    """Return the closed-form cycles of layers placed on arrays, all repeats included.

    The options are those of `systolic.cycles`.
    """
    sizes = np.array(
        [(p.layer.m, p.layer.k, p.layer.n, p.rows, p.cols) for p in placements], dtype=np.int64
    ).reshape(-1, 5)
    repeats = np.array([p.layer.repeats for p in placements], dtype=np.int64)
    m, k, n, rows, cols = sizes.T
    once = systolic.cycles(m, k, n, rows, cols, dataflow, drain=drain, overlap=overlap)
    return [int(c) for c in once * repeats]


def layer_costs(
    workload: Workload,
    placements: Sequence[Placement],
    accelerator: Accelerator,
    board: Board,
    array_cycles: ArrayCycles = analytical_cycles,
) -> tuple[LayerCost, ...]:
    """Return the cost of every operation that is not fused into another, in order."""
    compute = engine_cycles(placements, accelerator, array_cycles)
    fused = _fused(workload.vector_operations)
    moved = dram_bytes(placements, accelerator)
    bytes_per_cycle = board.bytes_per_cycle(accelerator.clock_mhz)
    priced: dict[str, LayerCost] = {}
    for placement, cycles, size in zip(placements, compute, moved, strict=True):
        layer = placement.layer
        work = fused.get(layer.name, [])
        size += sum(side_bytes(operation) for operation in work)
        vector = fused_cycles(work, accelerator.vector_lanes)
        dram = _dram_cycles(size, bytes_per_cycle)
        priced[layer.name] = _layer_cost(placement, cycles, vector, dram, size)
    return tuple(
        priced[op.name]
        if isinstance(op, MatrixLayer)
        else _vector_cost(op, accelerator.vector_lanes, bytes_per_cycle)
        for op in workload.operations
        if isinstance(op, MatrixLayer) or op.fused_into is None
    )


def engine_cycles(
    placements: Sequence[Placement], accelerator: Accelerator, array_cycles: ArrayCycles
) -> list[int]:
    """Return the cycles of each layer on its engine.

    A lane of the depthwise engine works on one channel, one multiply-accumulate a cycle. A layer
    split over both arrays takes as long as its slower part. The shift array passes once for each
    power of two that a weight is the sum of. Zero weights save no cycle.
    """
    on_arrays = array_parts(placements)
    arrays = iter(array_cycles(on_arrays, accelerator.dataflow)) if on_arrays else iter(())
    return [
        -(-p.layer.repeats * p.layer.n // p.rows) * p.layer.m * p.layer.k
        if p.engine == "depthwise"
        else max(next(arrays) * part.passes for part in p.parts or (p,))
        for p in placements
    ]


def _fused(operations: Iterable[VectorOperation]) -> dict[str, list[VectorOperation]]:
    by_layer: dict[str, list[VectorOperation]] = {}
    for operation in operations:
        if operation.fused_into is not None:
            by_layer.setdefault(operation.fused_into, []).append(operation)
    return by_layer


def side_bytes(operation: VectorOperation) -> int:
    """Return the bytes of the operands a fused operation has besides the layer's result."""
    extra = function_of(operation).operands - 1
    return int(ceil_div(operation.elements * extra * operation.input_bits, 8))


def _dram_cycles(size: int, bytes_per_cycle: float) -> int:
    return int(np.ceil(size / bytes_per_cycle))


def _layer_cost(placement: Placement, compute: int, vector: int, dram: int, size: int) -> LayerCost:
    times = {"array": compute, "vector": vector, "dram": dram}
    bound = max(times, key=lambda name: times[name])
    cycles = times[bound]
    return LayerCost(
        name=placement.layer.name,
        engine=placement.engine,
        cycles=cycles,
        compute_cycles=compute,
        vector_cycles=vector,
        dram_cycles=dram,
        dram_bytes=size,
        bound_by=bound,
        utilisation=placement.layer.macs / (cycles * placement.capacity),
    )


def _vector_cost(operation: VectorOperation, lanes: int, bytes_per_cycle: float) -> LayerCost:
    compute = operation_cycles(operation, lanes)
    size = operation_bytes(operation)
    dram = _dram_cycles(size, bytes_per_cycle)
    return LayerCost(
        name=operation.name,
        engine="vector",
        cycles=max(compute, dram),
        compute_cycles=0,
        vector_cycles=compute,
        dram_cycles=dram,
        dram_bytes=size,
        bound_by="vector" if compute >= dram else "dram",
        utilisation=0.0,
    )
