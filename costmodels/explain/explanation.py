"""Explanation: the cost of every layer, the bill of resources, and the roofs, as plain values."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from costmodels.accelerator import Accelerator
from costmodels.batch import batched
from costmodels.board import Board, load_board
from costmodels.cost import Cost, LayerCost
from costmodels.estimate import estimate
from costmodels.workload import MatrixLayer, VectorOperation, Workload

RESOURCES = {"dsp": "dsp", "lut": "lut", "ff": "ff", "bram36": "bram", "uram": "uram"}
"""A resource's metric, and the stem of its percentage and ceiling."""


@dataclass(frozen=True)
class LayerRow:
    """One operation that takes time of its own; work fused into it is counted with it.

    Attributes:
        name: Its name; a layer's is its timm module path.
        kind: "conv", "depthwise", "linear", "matmul", or the vector unit's function.
        shape: "M x K x N", times the independent products; elements of a vector operation.
        bits: Widths of weights and activations, "w4a8"; of a vector operation "a8".
        engine: What runs it, as `LayerCost.engine`.
        cycles: Clock cycles, in a chain its share of them.
        share: Its cycles over those of the whole network, 0 to 1.
        bound_by: "array", "vector" or "dram".
        utilisation: Multiply-accumulates over the engine's capacity in `cycles`, 0 to 1.
        dram_bytes: Bytes moved.
        macs: Multiply-accumulates, 0 for vector operations.
        gops: Operations (two a multiply-accumulate) attained, 1e9 a second; in a chain over the
            time of all of it.
        ops_per_byte: Operations for each byte moved, None where none is.
        dsp_share: DSPs of its engine over those of the design, 0 to 1.
        chain: Name of the chain that it runs in, None where it runs alone.
    """

    name: str
    kind: str
    shape: str
    bits: str
    engine: str
    cycles: int
    share: float
    bound_by: str
    utilisation: float
    dram_bytes: int
    macs: int
    gops: float
    ops_per_byte: float | None
    dsp_share: float
    chain: str | None = None


@dataclass(frozen=True)
class Resource:
    """What a design takes of one resource of its board.

    Attributes:
        name: "dsp", "lut", "ff", "bram36" or "uram".
        used: Of the whole design.
        available: On the board.
        ceiling: Share of those that a design can use and still close timing.
    """

    name: str
    used: float
    available: float
    ceiling: float

    @property
    def percent(self) -> float:
        """Use in per cent of what is available (0 of nothing)."""
        return 100 * self.used / self.available if self.available else 0.0

    @property
    def verdict(self) -> str:
        """One of "fits", "above its ceiling" and "larger than the board"."""
        if self.used > self.available:
            return "larger than the board"
        return "above its ceiling" if self.used > self.ceiling * self.available else "fits"


@dataclass(frozen=True)
class Roofs:
    """What bounds the operations a second.

    Attributes:
        engines: Peak of each engine with multiply-accumulates, in 1e9 operations a second.
        board_gops: Peak of all DSPs under their ceiling, packed as the MAC array's are; None where
            that array has no DSPs.
        sustained_gb_s: Off-chip bandwidth that a design sustains, in 1e9 bytes a second.
        peak_gb_s: Peak of the same.
    """

    engines: dict[str, float]
    board_gops: float | None
    sustained_gb_s: float
    peak_gb_s: float


@dataclass(frozen=True)
class Explanation:
    """Where a design's time and resources go.

    Attributes:
        title: What is explained.
        accelerator: The design's hardware.
        cost: All metrics, with what backs each.
        rows: A row for each operation, in execution order.
        resources: The bill.
        roofs: What bounds the layers.
    """

    title: str
    accelerator: Accelerator
    cost: Cost
    rows: tuple[LayerRow, ...]
    resources: tuple[Resource, ...]
    roofs: Roofs

    @property
    def gops(self) -> float:
        """Operations attained over the whole network, in 1e9 a second."""
        return 2 * sum(row.macs for row in self.rows) / self.cost.metrics["fpga.latency_ms"] / 1e6

    def cycles_bound_by(self, bound: str) -> int:
        """Return the cycles of all operations that `bound` limits."""
        return sum(row.cycles for row in self.rows if row.bound_by == bound)

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON-able values."""
        return {
            "schema_version": 1,
            "title": self.title,
            "batch": self.cost.batch,
            "accelerator": asdict(self.accelerator),
            "metrics": dict(self.cost.metrics),
            "provenance": {name: self.cost.source(name) for name in self.cost.metrics},
            "resources": [
                asdict(item) | {"percent": item.percent, "verdict": item.verdict}
                for item in self.resources
            ],
            "roofs": asdict(self.roofs),
            "layers": [asdict(row) for row in self.rows],
            "chains": [asdict(chain) for chain in self.cost.chains],
        }


def explain(
    workload: Workload,
    accelerator: Accelerator,
    *,
    title: str = "",
    batch: int = 1,
    gpus: Sequence[str] = (),
    **options: Any,
) -> Explanation:
    """Price a network on an accelerator and say where its time and resources go.

    Args:
        workload: The network, for one image.
        accelerator: The template's parameters.
        title: What to call it; the workload's name where empty.
        batch: Images that run together; rows are of all of them.
        gpus: GPUs to price as well.
        options: Further arguments of `estimate`.

    Raises:
        CostModelError: Something cannot be priced; the message names it.
    """
    cost = estimate(workload, accelerator, batch=batch, gpus=gpus, **options)
    board = load_board(accelerator.board)
    rows = _rows(batched(workload, batch), cost, accelerator.clock_mhz)
    return Explanation(
        title or workload.name,
        accelerator,
        cost,
        rows,
        _resources(cost, board),
        _roofs(rows, cost, board, accelerator.clock_mhz),
    )


def _rows(workload: Workload, cost: Cost, clock_mhz: float) -> tuple[LayerRow, ...]:
    # In order, for two vector operations may share a name; what is fused has no cost of its own.
    operations = iter([op for op in workload.operations if getattr(op, "fused_into", None) is None])
    total = sum(layer.cycles for layer in cost.layers)
    return tuple(
        _row(next(op for op in operations if op.name == layer.name), layer, cost, total, clock_mhz)
        for layer in cost.layers
    )


def _row(
    operation: MatrixLayer | VectorOperation,
    layer: LayerCost,
    cost: Cost,
    total: int,
    clock_mhz: float,
) -> LayerRow:
    matrix = isinstance(operation, MatrixLayer)
    macs = operation.macs if isinstance(operation, MatrixLayer) else 0
    engine = layer.engine.partition("+")[0]  # of both arrays, only the MAC array has DSPs
    dsps = cost.metrics["fpga.dsp"]
    span = next((c.cycles for c in cost.chains if c.name == layer.chain), layer.cycles)
    return LayerRow(
        name=layer.name,
        kind=operation.kind if isinstance(operation, MatrixLayer) else operation.function,
        shape=_shape(operation),
        bits=_bits(operation),
        engine=layer.engine,
        cycles=layer.cycles,
        share=layer.cycles / total,
        bound_by=layer.bound_by,
        utilisation=layer.utilisation,
        dram_bytes=layer.dram_bytes,
        macs=macs,
        gops=2 * macs * clock_mhz / span / 1e3,
        ops_per_byte=2 * macs / layer.dram_bytes if matrix and layer.dram_bytes else None,
        dsp_share=cost.metrics[f"fpga.{engine}_dsp"] / dsps if dsps else 0.0,
        chain=layer.chain,
    )


def _shape(operation: MatrixLayer | VectorOperation) -> str:
    if isinstance(operation, VectorOperation):
        rows = operation.elements // operation.row_length
        return f"{rows} x {operation.row_length}" if operation.row_length > 1 else f"{rows}"
    times = f"{operation.repeats} of " if operation.repeats > 1 else ""
    return f"{times}{operation.m} x {operation.k} x {operation.n}"


def _bits(operation: MatrixLayer | VectorOperation) -> str:
    if isinstance(operation, VectorOperation):
        return f"a{operation.input_bits}"
    return f"w{operation.weight_bits}a{operation.activation_bits}"


def _resources(cost: Cost, board: Board) -> tuple[Resource, ...]:
    return tuple(
        Resource(
            name=name,
            used=cost.metrics[f"fpga.{name}"],
            available=board.limits[name],
            ceiling=getattr(board, f"{stem}_ceiling"),
        )
        for name, stem in RESOURCES.items()
    )


def _roofs(rows: Sequence[LayerRow], cost: Cost, board: Board, clock_mhz: float) -> Roofs:
    peaks: dict[str, float] = {}
    for row in rows:
        if row.utilisation:
            peak = row.gops / row.utilisation
            peaks[row.engine] = max(peak, peaks.get(row.engine, 0.0))
    dsps, array = cost.metrics["fpga.mac_array_dsp"], peaks.get("mac_array")
    most = array / dsps * board.dsp * board.dsp_ceiling if dsps and array else None
    sustained = board.bytes_per_cycle(clock_mhz) * clock_mhz / 1e3
    return Roofs(peaks, most, sustained, board.bandwidth_gb_s)
