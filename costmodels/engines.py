"""Which engine of the template runs which layer, and what each engine is built for.

`plan` decides this for all accelerators of a grid; `engine_sizes` says how large each layer finds
its engine on each of them; `place` does both for one accelerator.

Layers of powers of two, or of sums of them, run on the shift array where there is one, depthwise
layers on the depthwise engine where it has lanes, all else on the MAC array. Of a mixed layer the
log2 channels run on the shift array while the MAC array computes the rest. An engine that serves no
layer is not built.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from costmodels.accelerator import Accelerator
from costmodels.errors import CostModelError
from costmodels.fabric import apot_terms
from costmodels.grid import Grid
from costmodels.mixed import split_mixed
from costmodels.operands import accumulator_bits, operand_bits, shift_code_bits
from costmodels.packing import Packing, packing
from costmodels.scalesim import Task, layer_task
from costmodels.systolic import Integers, cycles
from costmodels.workload import MatrixLayer, Workload

BOTH_ARRAYS = "mac_array+shift_array"
_ENGINES = ("mac_array", "shift_array", "depthwise")
_ROWS = ("mac_rows", "shift_rows", "depthwise_lanes")
_COLS = ("mac_cols", "shift_cols", "depthwise_lanes")  # of lanes it stands for one column
_NO_DSP, _ONE_PRODUCT = Packing(0, 0), Packing(1, 1)


@dataclass
class Placement:
    """A layer on its engine; every estimate makes one a layer, and frozen ones are slow to make.

    Attributes:
        layer: The layer.
        engine: "mac_array", "shift_array", "depthwise", or "mac_array+shift_array" for a layer
            whose channels are split over both; rows, columns and packing are then the MAC array's.
        rows: Rows of the array as the layer sees it (lanes of the depthwise engine).
        cols: Columns of the array as the layer sees it: more than there are PEs where
            reconfigurable PEs pack narrow products (1 for the depthwise engine).
        packed: Products of one DSP in this layer's mode.
        accumulator_bits: Width that holds any sum of the layer.
        parts: Where the layer is split, each array's part as a layer of its own.
        in_luts: Its multipliers are LUTs, not DSPs.
    """

    layer: MatrixLayer
    engine: str
    rows: int
    cols: int
    packed: Packing
    accumulator_bits: int
    parts: "tuple[Placement, ...]" = ()
    in_luts: bool = False

    @property
    def passes(self) -> int:
        """Times the array works through the product: a shift PE adds one power of two a cycle."""
        apot = self.layer.weight_scheme == "apot" and self.engine == "shift_array"
        return apot_terms(self.layer.weight_bits) if apot else 1

    @property
    def capacity(self) -> float:
        """Multiply-accumulates a cycle at best."""
        if self.parts:
            return sum(part.capacity for part in self.parts)
        return self.rows * self.cols / self.passes

    def smallest_tile(self, dataflow: str) -> tuple[int, int, int]:
        """Return the least (m, k, n) that a tile in the buffers has, in elements.

        Two axes fill the array; the streamed one is at least 16 long, a DRAM burst of bytes.
        """
        layer = self.layer
        if self.engine == "depthwise":
            return 1, layer.k, 1
        m, k, n = filling_tile(self.rows, self.cols, dataflow)
        return min(m, layer.m), min(k, layer.k), min(n, layer.n)


@dataclass(frozen=True)
class Build:
    """What an engine's PEs are built for: the widest operands among its layers.

    Attributes:
        weight_bits: Width of the weight operand (of a power of two's code on the shift array).
        activation_bits: Width of the activation operand.
        accumulator_bits: Width of the accumulators.
        packed: Products of one DSP.
        modes: The packings its layers use, one unless the PEs are reconfigurable.
    """

    weight_bits: int
    activation_bits: int
    accumulator_bits: int
    packed: Packing
    modes: tuple[Packing, ...]


def engine_of(layer: MatrixLayer, accelerator: Accelerator) -> str:
    """Return the engine that runs the layer.

    Raises:
        CostModelError: It needs the MAC array and the accelerator has none.
    """
    if layer.kind == "depthwise" and accelerator.depthwise_lanes:
        return "depthwise"
    if layer.weight_scheme in ("log2", "apot") and accelerator.shift_rows:
        return "shift_array"
    if not accelerator.mac_rows:
        raise CostModelError(
            f"layer '{layer.name}' needs the MAC array: set mac_rows and mac_cols above 0"
        )
    if layer.weight_scheme == "mixed" and accelerator.shift_rows:
        return BOTH_ARRAYS
    return "mac_array"


@dataclass(frozen=True)
class Plan:
    """The layers of a network on the engines of a grid's accelerators, whatever their sizes.

    Attributes:
        placements: Each layer on its engine, in order; rows and columns are those of the
            accelerator `Grid.kind`, before packed products add columns.
        pieces: What runs on one engine: the layers, or their parts where they are split.
        starts: Index of each layer's first piece, shape (layers,).
        builds: What each used engine is built for.
    """

    placements: tuple[Placement, ...]
    pieces: tuple[Placement, ...]
    starts: NDArray[np.intp]
    builds: dict[str, Build]

    @cached_property
    def on_lanes(self) -> NDArray[np.bool_]:
        """Whether each piece runs on the depthwise engine, shape (pieces,)."""
        return np.array([piece.engine == "depthwise" for piece in self.pieces], dtype=bool)

    @cached_property
    def passes(self) -> Integers:
        """`Placement.passes` of each piece, shape (pieces,)."""
        return np.array([piece.passes for piece in self.pieces], dtype=np.int64)


def plan(workload: Workload, accelerator: Accelerator, dsp_type: str) -> Plan:
    """Put every matrix layer on its engine.

    Args:
        workload: The network.
        accelerator: Any of the accelerators of a grid.
        dsp_type: The board's DSP.

    Raises:
        CostModelError: A layer has no engine, or operands that no DSP takes.
    """
    split = [_pieces(layer, accelerator) for layer in workload.layers]
    parts = [part for pieces in split for part in pieces]
    by_engine: dict[str, list[MatrixLayer]] = {}
    for layer, engine in parts:
        by_engine.setdefault(engine, []).append(layer)
    builds: dict[str, Build] = {}
    placed: dict[str, Iterator[Placement]] = {}
    for engine, layers in by_engine.items():
        sums = list(map(accumulator_bits, layers))
        builds[engine] = _build(engine, layers, max(sums), accelerator, dsp_type)
        placed[engine] = _placements(engine, layers, sums, builds[engine], accelerator, dsp_type)
    pieces = [next(placed[engine]) for _, engine in parts]
    starts = np.cumsum([0, *map(len, split)], dtype=np.intp)[:-1]
    return Plan(_join(workload, pieces, starts), tuple(pieces), starts, builds)


def engine_sizes(planned: Plan, grid: Grid) -> tuple[Integers, Integers]:
    """Return rows and columns of each piece's engine, as it sees them, on each accelerator.

    Returns:
        Two arrays of shape (accelerators, pieces), as `Placement.rows` and `Placement.cols`.
    """
    engines = np.array([_ENGINES.index(piece.engine) for piece in planned.pieces], dtype=np.intp)
    rows, cols = grid.columns(_ROWS)[:, engines], grid.columns(_COLS)[:, engines]
    cols[:, planned.on_lanes] = 1
    if grid.kind.precision == "reconfigurable" and "mac_array" in planned.builds:
        _widen(planned, rows, cols, grid.kind.dataflow)
    return rows, cols


def place(
    workload: Workload, accelerator: Accelerator, dsp_type: str
) -> tuple[tuple[Placement, ...], dict[str, Build]]:
    """Put every matrix layer on its engine, with the columns that packed products add.

    Returns:
        The placements in the workload's order, and what each used engine is built for.

    Raises:
        CostModelError: A layer has no engine, or operands that no DSP takes.
    """
    planned = plan(workload, accelerator, dsp_type)
    _, cols = engine_sizes(planned, Grid.of(accelerator))
    pieces = [
        piece if piece.cols == wide else replace(piece, cols=wide)
        for piece, wide in zip(planned.pieces, cols[0].tolist(), strict=True)
    ]
    return _join(workload, pieces, planned.starts), planned.builds


def array_parts(placements: Sequence[Placement]) -> list[Placement]:
    """Return what runs on arrays, in order; a layer split over both arrays is two."""
    return [part for p in placements if p.engine != "depthwise" for part in p.parts or (p,)]


def _pieces(layer: MatrixLayer, accelerator: Accelerator) -> list[tuple[MatrixLayer, str]]:
    """Return a layer and its engine, or the two parts of a mixed layer that has both arrays."""
    engine = engine_of(layer, accelerator)
    if engine != BOTH_ARRAYS:
        return [(layer, engine)]
    uniform, log2 = split_mixed(layer)
    parts = ((uniform, "mac_array"), (log2, "shift_array"))
    return [(part, where) for part, where in parts if part is not None]


def _join(
    workload: Workload, pieces: list[Placement], starts: NDArray[np.intp]
) -> tuple[Placement, ...]:
    """Return the placements of the layers; `starts` is the index of each one's first piece."""
    if len(pieces) == len(workload.layers):
        return tuple(pieces)
    bounds = pairwise([*starts.tolist(), len(pieces)])
    parts = [pieces[start:end] for start, end in bounds]
    return tuple(map(_joined, workload.layers, parts))


def _joined(layer: MatrixLayer, parts: list[Placement]) -> Placement:
    """Return the placement of a layer; of a split one the parts are side by side in it."""
    if len(parts) == 1:
        return parts[0]
    sums = max(part.accumulator_bits for part in parts)
    both = replace(parts[0], layer=layer, engine=BOTH_ARRAYS, accumulator_bits=sums)
    return replace(both, parts=tuple(parts))


def simulation_tasks(
    workload: Workload, accelerator: Accelerator, dsp_type: str = "DSP48E2"
) -> list[Task]:
    """Return the distinct SCALE-Sim runs that pricing the workload needs, in order."""
    placements, _ = place(workload, accelerator, dsp_type)
    return list(
        dict.fromkeys(
            layer_task(p.layer, p.rows, p.cols, accelerator.dataflow)
            for p in array_parts(placements)
        )
    )


def all_log2(layers: list[MatrixLayer]) -> bool:
    """Return whether every layer has log2 weights, so that shifters can replace multipliers."""
    return all(layer.weight_scheme == "log2" for layer in layers)


def _build(
    engine: str, layers: list[MatrixLayer], sums: int, accelerator: Accelerator, dsp_type: str
) -> Build:
    shifting = engine == "shift_array" or (engine == "depthwise" and all_log2(layers))
    width = shift_code_bits if shifting else operand_bits
    weight_bits = max(map(width, layers))
    activation_bits = max([layer.activation_bits for layer in layers])
    if shifting:
        return Build(weight_bits, activation_bits, sums, _NO_DSP, ())
    if engine == "depthwise":  # its lanes share no operand, so nothing packs
        if accelerator.mac_pe == "dsp":
            packing(weight_bits, activation_bits, dsp_type=dsp_type, limit=1)
        return Build(weight_bits, activation_bits, sums, _ONE_PRODUCT, (_ONE_PRODUCT,))
    widest = _pack(weight_bits, activation_bits, accelerator, dsp_type)
    modes = {widest}
    if accelerator.precision == "reconfigurable":
        modes |= {
            _pack(operand_bits(layer), layer.activation_bits, accelerator, dsp_type)
            for layer in layers
        }
    ordered = tuple(sorted(modes, key=lambda mode: mode.products))
    return Build(weight_bits, activation_bits, sums, widest, ordered)


def _pack(weight_bits: int, activation_bits: int, accelerator: Accelerator, kind: str) -> Packing:
    if accelerator.mac_pe == "lut":
        return _ONE_PRODUCT
    return packing(weight_bits, activation_bits, dataflow=accelerator.dataflow, dsp_type=kind)


def _placements(
    engine: str,
    layers: list[MatrixLayer],
    sums: list[int],
    build: Build,
    accelerator: Accelerator,
    dsp_type: str,
) -> Iterator[Placement]:
    """Yield the placement of each layer of an engine; `sums` is the width of each one's sums."""
    in_luts = accelerator.mac_pe == "lut" and build.packed.products > 0
    rows, cols, packed = accelerator.mac_rows, accelerator.mac_cols, build.packed
    if engine == "depthwise":
        rows, cols, packed = accelerator.depthwise_lanes, 1, _ONE_PRODUCT
    elif engine == "shift_array":
        rows, cols = accelerator.shift_rows, accelerator.shift_cols
    repacked = engine == "mac_array" and accelerator.precision == "reconfigurable"
    for layer, width in zip(layers, sums, strict=True):
        if repacked:
            packed = _pack(operand_bits(layer), layer.activation_bits, accelerator, dsp_type)
        yield Placement(layer, engine, rows, cols, packed, width, (), in_luts)


def _widen(planned: Plan, rows: Integers, cols: Integers, dataflow: str) -> None:
    """Add to `cols` the columns that packed products add.

    A layer whose products pack more densely than those the PEs are built for has up to so many
    times the columns; it takes the multiple that is quickest, for more columns also fill longer.
    """
    built = planned.builds["mac_array"].packed.products
    multiples = [
        p.packed.products // built if p.engine == "mac_array" else 1 for p in planned.pieces
    ]
    single = cols.copy()
    for multiple in range(2, max(multiples) + 1):
        at = np.flatnonzero(np.array(multiples) >= multiple)
        layers = [planned.pieces[i].layer for i in at]
        sizes = np.array([(layer.m, layer.k, layer.n) for layer in layers], dtype=np.int64)
        wider = multiple * single[:, at]
        m, k, n = sizes.T
        now, then = (
            cycles(m, k, n, rows[:, at], columns, dataflow) for columns in (cols[:, at], wider)
        )
        cols[:, at] = np.where(then < now, wider, cols[:, at])


def filling_tile(rows: Any, cols: Any, dataflow: str) -> tuple[Any, Any, Any]:
    """Return the (m, k, n) of the smallest tile that fills a rows x cols array."""
    burst = 16  # bytes of a DRAM burst, along the streamed axis
    tiles = {"os": (rows, burst, cols), "ws": (burst, rows, cols), "is": (cols, rows, burst)}
    return tiles[dataflow]


def lane_widths(placement: Placement, dataflow: str) -> tuple[int, int, int]:
    """Return the bits a cycle that the layer reads as input and as weights, and writes as sums.

    Input and weight buffers feed the array's edges; the array's columns write sums, which the
    output buffer keeps until the reduction is whole. The depthwise engine writes codes. Arrays that
    share a layer share its input and have weights and sums of their own.
    """
    if placement.parts:
        widths = [lane_widths(part, dataflow) for part in placement.parts]
        read, weighing, written = zip(*widths, strict=True)
        return max(read), sum(weighing), sum(written)
    layer, rows, cols = placement.layer, placement.rows, placement.cols
    if placement.engine == "depthwise":
        return rows * layer.activation_bits, rows * layer.weight_bits, rows * layer.output_bits
    inputs, weights = layer.activation_bits, layer.weight_bits
    return edge_widths(rows, cols, inputs, weights, placement.accumulator_bits, dataflow)


def grid_lane_widths(planned: Plan, rows: Integers, cols: Integers, dataflow: str) -> Integers:
    """Return `lane_widths` of every layer on every accelerator, shape (accelerators, layers, 3).

    Args:
        planned: The layers on their engines.
        rows: Rows of each piece's engine, as `engine_sizes` gives them.
        cols: Columns likewise.
        dataflow: "os", "ws" or "is".
    """
    bits: list[int] = []
    for piece in planned.pieces:
        layer, width = piece.layer, piece.accumulator_bits
        bits += [layer.activation_bits, layer.weight_bits, width, layer.output_bits]
    inputs, weights, sums, outputs = np.array(bits, dtype=np.int64).reshape(-1, 4).T
    edges = edge_widths(rows, cols, inputs, weights, sums, dataflow)
    made = [
        join.reduceat(np.where(planned.on_lanes, rows * own, edge), planned.starts, axis=1)
        for join, own, edge in zip(
            (np.maximum, np.add, np.add), (inputs, weights, outputs), edges, strict=True
        )
    ]
    return np.array(made).transpose(1, 2, 0)


def edge_widths(
    rows: Any, cols: Any, activation_bits: Any, weight_bits: Any, sum_bits: Any, dataflow: str
) -> tuple[Any, Any, Any]:
    """Return the bits a cycle at the edges of an array: inputs, weights, sums."""
    if dataflow == "is":  # activations are held in the columns, weights stream along the rows
        return cols * activation_bits, rows * weight_bits, cols * sum_bits
    return rows * activation_bits, cols * weight_bits, cols * sum_bits
