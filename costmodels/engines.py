"""Which engine of the template runs which layer, and what each engine is built for.

Layers of powers of two, or of sums of them, run on the shift array where there is one, depthwise
layers on the depthwise engine where it has lanes, all else on the MAC array. Of a mixed layer the
log2 channels run on the shift array while the MAC array computes the rest. An engine that serves no
layer is not built.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from costmodels.accelerator import Accelerator
from costmodels.errors import CostModelError
from costmodels.fabric import apot_terms
from costmodels.operands import (
    accumulator_bits,
    operand_bits,
    shift_code_bits,
)
from costmodels.packing import Packing, packing
from costmodels.scalesim import Task, layer_task
from costmodels.systolic import cycles
from costmodels.workload import MatrixLayer, Workload

BOTH_ARRAYS = "mac_array+shift_array"


@dataclass(frozen=True)
class Placement:
    """A layer on its engine.

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
        rows, cols, burst = self.rows, self.cols, 16
        m, k, n = {
            "os": (rows, burst, cols),
            "ws": (burst, rows, cols),
            "is": (cols, rows, burst),
        }[dataflow]
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


def place(
    workload: Workload, accelerator: Accelerator, dsp_type: str
) -> tuple[tuple[Placement, ...], dict[str, Build]]:
    """Put every matrix layer on its engine.

    Returns:
        The placements in the workload's order, and what each used engine is built for.

    Raises:
        CostModelError: A layer has no engine, or operands that no DSP takes.
    """
    pieces = [piece for layer in workload.layers for piece in _pieces(layer, accelerator)]
    by_engine: dict[str, list[MatrixLayer]] = {}
    for layer, engine in pieces:
        by_engine.setdefault(engine, []).append(layer)
    builds = {
        engine: _build(engine, layers, accelerator, dsp_type)
        for engine, layers in by_engine.items()
    }
    placed = [
        _placement(layer, engine, builds[engine], accelerator, dsp_type) for layer, engine in pieces
    ]
    if accelerator.precision == "reconfigurable" and "mac_array" in builds:
        placed = _widen(placed, builds["mac_array"].packed.products, accelerator)
    return _joined(workload, placed), builds


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


def split_mixed(layer: MatrixLayer) -> tuple[MatrixLayer | None, MatrixLayer | None]:
    """Return the uniform and the log2 channels of a mixed layer as layers, None where none are.

    In a grouped convolution every group is taken to have the same share; where a group has but one
    channel, whole groups are split.
    """
    count = layer.repeats if layer.n == 1 else layer.n
    log2 = math.floor(layer.log2_share * count + 0.5)
    return _channels(layer, "uniform", count - log2), _channels(layer, "log2", log2)


def _channels(layer: MatrixLayer, scheme: str, taken: int) -> MatrixLayer | None:
    if taken == 0:
        return None
    plain = replace(layer, weight_scheme=scheme, log2_share=0.0)
    count = layer.repeats if layer.n == 1 else layer.n
    sizes = {
        name: getattr(layer, name) * taken // count
        for name in ("output_elements", "weight_elements", "out_channels")
    }
    if layer.n > 1:
        return replace(plain, n=taken, **sizes)
    for name in ("input_elements", "in_channels"):
        sizes[name] = getattr(layer, name) * taken // count
    return replace(plain, repeats=taken, **sizes)


def _joined(workload: Workload, placed: list[Placement]) -> tuple[Placement, ...]:
    """Return one placement for each layer, the parts of a split one side by side in it."""
    by_name: dict[str, list[Placement]] = {}
    for placement in placed:
        by_name.setdefault(placement.layer.name, []).append(placement)
    joined = []
    for layer in workload.layers:
        parts = by_name[layer.name]
        if len(parts) > 1:
            sums = max(part.accumulator_bits for part in parts)
            parts = [
                replace(
                    parts[0],
                    layer=layer,
                    engine=BOTH_ARRAYS,
                    accumulator_bits=sums,
                    parts=tuple(parts),
                )
            ]
        joined.append(parts[0])
    return tuple(joined)


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
    engine: str, layers: list[MatrixLayer], accelerator: Accelerator, dsp_type: str
) -> Build:
    shifting = engine == "shift_array" or (engine == "depthwise" and all_log2(layers))
    width = shift_code_bits if shifting else operand_bits
    weight_bits = max(width(layer) for layer in layers)
    activation_bits = max(layer.activation_bits for layer in layers)
    sums = max(accumulator_bits(layer) for layer in layers)
    if shifting:
        return Build(weight_bits, activation_bits, sums, Packing(0, 0), ())
    if engine == "depthwise":  # its lanes share no operand, so nothing packs
        if accelerator.mac_pe == "dsp":
            packing(weight_bits, activation_bits, dsp_type=dsp_type, limit=1)
        return Build(weight_bits, activation_bits, sums, Packing(1, 1), (Packing(1, 1),))
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
        return Packing(1, 1)
    return packing(weight_bits, activation_bits, dataflow=accelerator.dataflow, dsp_type=kind)


def _placement(
    layer: MatrixLayer, engine: str, build: Build, accelerator: Accelerator, dsp_type: str
) -> Placement:
    sums = accumulator_bits(layer)
    in_luts = accelerator.mac_pe == "lut" and build.packed.products > 0
    if engine == "depthwise":
        lanes = accelerator.depthwise_lanes
        return Placement(layer, engine, lanes, 1, Packing(1, 1), sums, in_luts=in_luts)
    if engine == "shift_array":
        rows, cols = accelerator.shift_rows, accelerator.shift_cols
        return Placement(layer, engine, rows, cols, Packing(0, 0), sums)
    rows, cols, packed = accelerator.mac_rows, accelerator.mac_cols, build.packed
    if accelerator.precision == "reconfigurable":
        packed = _pack(operand_bits(layer), layer.activation_bits, accelerator, dsp_type)
    return Placement(layer, engine, rows, cols, packed, sums, in_luts=in_luts)


def _widen(placed: list[Placement], built: int, accelerator: Accelerator) -> list[Placement]:
    """Return the placements with the columns that packed products add.

    A layer whose products pack more densely than those the PEs are built for has up to so many
    times the columns; it takes the multiple that is quickest, for more columns also fill longer.
    """
    most = max((p.packed.products // built for p in placed if p.engine == "mac_array"), default=1)
    if most <= 1:
        return placed
    sizes = np.array([(p.layer.m, p.layer.k, p.layer.n) for p in placed], dtype=np.int64)
    m, k, n = sizes.T[:, :, None]
    multiples = np.arange(1, most + 1)
    columns = accelerator.mac_cols * multiples
    taken = cycles(m, k, n, accelerator.mac_rows, columns, accelerator.dataflow)
    allowed = np.array([max(1, p.packed.products // built) for p in placed])
    taken = np.where(multiples <= allowed[:, None], taken, np.iinfo(np.int64).max)
    best = columns[taken.argmin(axis=1)]
    return [
        replace(p, cols=int(c)) if p.engine == "mac_array" else p
        for p, c in zip(placed, best, strict=True)
    ]


def lane_widths(placement: Placement, dataflow: str) -> tuple[int, int, int]:
    """Return the bits a cycle that the layer reads as input and as weights, and writes as sums.

    Input and weight buffers feed the array's edges; the array's columns write sums, which the
    output buffer keeps until the reduction is whole. The depthwise engine writes codes. Arrays that
    share a layer share its input and have weights and sums of their own.
    """
    if placement.parts:
        widths = [lane_widths(part, dataflow) for part in placement.parts]
        inputs, weights, written = zip(*widths, strict=True)
        return max(inputs), sum(weights), sum(written)
    layer, rows, cols = placement.layer, placement.rows, placement.cols
    if placement.engine == "depthwise":
        return rows * layer.activation_bits, rows * layer.weight_bits, rows * layer.output_bits
    sums = cols * placement.accumulator_bits
    if dataflow == "is":  # activations are held in the columns, weights stream along the rows
        return cols * layer.activation_bits, rows * layer.weight_bits, sums
    return rows * layer.activation_bits, cols * layer.weight_bits, sums
