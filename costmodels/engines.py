"""Which engine of the template runs which layer, and what each engine is built for.

log2 layers run on the shift array where there is one, depthwise layers on the depthwise engine
where it has lanes, all else on the MAC array. An engine that serves no layer is not built.
"""

from dataclasses import dataclass, replace

import numpy as np

from costmodels.accelerator import Accelerator
from costmodels.errors import CostModelError
from costmodels.fabric import log2_operand_bits, log2_product_bits
from costmodels.packing import Packing, packing
from costmodels.scalesim import Task, layer_task
from costmodels.systolic import cycles
from costmodels.workload import MatrixLayer, Workload

MAX_ACCUMULATOR_BITS = 32


@dataclass(frozen=True)
class Placement:
    """A layer on its engine.

    Attributes:
        layer: The layer.
        engine: "mac_array", "shift_array" or "depthwise".
        rows: Rows of the array as the layer sees it (lanes of the depthwise engine).
        cols: Columns of the array as the layer sees it: more than there are PEs where
            reconfigurable PEs pack narrow products (1 for the depthwise engine).
        packed: Products of one DSP in this layer's mode.
        accumulator_bits: Width that holds any sum of the layer.
    """

    layer: MatrixLayer
    engine: str
    rows: int
    cols: int
    packed: Packing
    accumulator_bits: int

    @property
    def capacity(self) -> int:
        """Multiply-accumulates a cycle at best."""
        return self.rows * self.cols

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
        weight_bits: Width of the weight operand (of the log2 code on the shift array).
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
    if layer.weight_scheme == "log2" and accelerator.shift_rows:
        return "shift_array"
    if not accelerator.mac_rows:
        raise CostModelError(
            f"layer '{layer.name}' needs the MAC array: set mac_rows and mac_cols above 0"
        )
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
    by_engine: dict[str, list[MatrixLayer]] = {}
    for layer in workload.layers:
        by_engine.setdefault(engine_of(layer, accelerator), []).append(layer)
    builds = {
        engine: _build(engine, layers, accelerator, dsp_type)
        for engine, layers in by_engine.items()
    }
    placed = [
        _placement(layer, engine, builds[engine], accelerator, dsp_type)
        for layer in workload.layers
        for engine in (engine_of(layer, accelerator),)
    ]
    if accelerator.precision == "reconfigurable" and "mac_array" in builds:
        placed = _widen(placed, builds["mac_array"].packed.products, accelerator)
    return tuple(placed), builds


def simulation_tasks(
    workload: Workload, accelerator: Accelerator, dsp_type: str = "DSP48E2"
) -> list[Task]:
    """Return the distinct SCALE-Sim runs that pricing the workload needs, in order."""
    placements, _ = place(workload, accelerator, dsp_type)
    arrays = (p for p in placements if p.engine != "depthwise")
    return list(
        dict.fromkeys(layer_task(p.layer, p.rows, p.cols, accelerator.dataflow) for p in arrays)
    )


def operand_bits(layer: MatrixLayer) -> int:
    """Return the width of the layer's weights as a multiplier takes them."""
    return (
        log2_operand_bits(layer.weight_bits)
        if layer.weight_scheme == "log2"
        else (layer.weight_bits)
    )


def accumulator_bits(layer: MatrixLayer) -> int:
    """Return the width that holds any sum of the layer's products, at most 32 bits.

    Lowering proves that no layer overflows 32 bits, so no accumulator is wider.
    """
    if layer.weight_scheme == "log2":
        product = log2_product_bits(layer.weight_bits, layer.activation_bits)
    else:
        product = layer.weight_bits + layer.activation_bits
    return min(MAX_ACCUMULATOR_BITS, product + (layer.k - 1).bit_length())


def all_log2(layers: list[MatrixLayer]) -> bool:
    """Return whether every layer has log2 weights, so that shifters can replace multipliers."""
    return all(layer.weight_scheme == "log2" for layer in layers)


def _build(
    engine: str, layers: list[MatrixLayer], accelerator: Accelerator, dsp_type: str
) -> Build:
    shifting = engine == "shift_array" or (engine == "depthwise" and all_log2(layers))
    weight_bits = max(layer.weight_bits if shifting else operand_bits(layer) for layer in layers)
    activation_bits = max(layer.activation_bits for layer in layers)
    sums = max(accumulator_bits(layer) for layer in layers)
    if shifting:
        return Build(weight_bits, activation_bits, sums, Packing(0, 0), ())
    if engine == "depthwise":  # its lanes share no operand, so nothing packs
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
    return packing(weight_bits, activation_bits, dataflow=accelerator.dataflow, dsp_type=kind)


def _placement(
    layer: MatrixLayer, engine: str, build: Build, accelerator: Accelerator, dsp_type: str
) -> Placement:
    sums = accumulator_bits(layer)
    if engine == "depthwise":
        return Placement(layer, engine, accelerator.depthwise_lanes, 1, Packing(1, 1), sums)
    if engine == "shift_array":
        rows, cols = accelerator.shift_rows, accelerator.shift_cols
        return Placement(layer, engine, rows, cols, Packing(0, 0), sums)
    rows, cols, packed = accelerator.mac_rows, accelerator.mac_cols, build.packed
    if accelerator.precision == "reconfigurable":
        packed = _pack(operand_bits(layer), layer.activation_bits, accelerator, dsp_type)
    return Placement(layer, engine, rows, cols, packed, sums)


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
    output buffer keeps until the reduction is whole. The depthwise engine writes codes.
    """
    layer, rows, cols = placement.layer, placement.rows, placement.cols
    if placement.engine == "depthwise":
        return rows * layer.activation_bits, rows * layer.weight_bits, rows * layer.output_bits
    sums = cols * placement.accumulator_bits
    if dataflow == "is":  # activations are held in the columns, weights stream along the rows
        return cols * layer.activation_bits, rows * layer.weight_bits, sums
    return rows * layer.activation_bits, cols * layer.weight_bits, sums
