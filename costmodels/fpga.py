"""The FPGA template: resources, latency and energy of one accelerator for one workload."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from costmodels.accelerator import Accelerator
from costmodels.board import Board
from costmodels.buffers import Buffer, buffers
from costmodels.cost import LayerCost
from costmodels.energy import energy_mj
from costmodels.engines import Build, Placement, place
from costmodels.fabric import control_cost, reconfiguration_lut
from costmodels.latency import ArrayCycles, analytical_cycles, layer_costs
from costmodels.memory import Memory
from costmodels.packing import array_dsps
from costmodels.pe import check_profile, dsp_pe_group, log2_pe, lut_pe
from costmodels.vector_unit import Fabric, lane_cost
from costmodels.workload import Workload


@dataclass(frozen=True)
class FpgaCost:
    """Resources by part of the template, and the cost of each operation.

    Attributes:
        parts: Fabric of "mac_array", "shift_array", "depthwise", "vector", "control" and
            "memory_controller".
        memory: All memory blocks.
        layers: Cost of each operation, in order.
        energy_mj: Relative energy of one image.
    """

    parts: Mapping[str, Fabric]
    memory: Memory
    layers: tuple[LayerCost, ...]
    energy_mj: float

    @property
    def cycles(self) -> int:
        """Clock cycles of one image."""
        return sum(layer.cycles for layer in self.layers)

    @property
    def fabric(self) -> Fabric:
        """LUTs (memory included), flip-flops and DSPs of the whole design."""
        return sum(self.parts.values(), start=Fabric(lut=self.memory.lut))


def price(
    workload: Workload,
    accelerator: Accelerator,
    board: Board,
    array_cycles: ArrayCycles = analytical_cycles,
    profile: str = "yosys",
) -> FpgaCost:
    """Price a checked workload on a checked accelerator.

    Args:
        workload: The network, for one image.
        accelerator: The template's parameters.
        board: What it is built on.
        array_cycles: Cycles of the layers placed on arrays.
        profile: What prices multipliers in LUTs, one of `pe.PROFILES`.

    Raises:
        CostModelError: A layer has no engine, operands that no DSP takes, or the profile is
            unknown.
    """
    check_profile(profile)
    placements, builds = place(workload, accelerator, board.dsp_type)
    layers = layer_costs(workload, placements, accelerator, board, array_cycles)
    cycles = sum(layer.cycles for layer in layers)
    seconds = cycles / (accelerator.clock_mhz * 1e6)
    memories = buffers(placements, accelerator, has_uram=board.uram > 0)
    energy = energy_mj(
        placements,
        layers,
        workload.vector_operations,
        accelerator.dataflow,
        seconds,
        board,
        memories,
    )
    parts = {
        "mac_array": _mac_array(builds.get("mac_array"), accelerator, board.dsp_type, profile),
        "shift_array": _shift_array(builds.get("shift_array"), accelerator),
        "depthwise": _depthwise(builds.get("depthwise"), accelerator, profile),
        "vector": lane_cost(workload.vector_operations) * accelerator.vector_lanes,
        "control": control_cost(),
        "memory_controller": _memory_controller(board),
    }
    return FpgaCost(parts, _blocks(memories, board), layers, energy)


def metrics(cost: FpgaCost, accelerator: Accelerator, board: Board) -> dict[str, float]:
    """Return the cost as metrics by dotted name; percentages are of the whole board."""
    fabric, memory = cost.fabric, cost.memory
    milliseconds = cost.cycles / (accelerator.clock_mhz * 1e3)
    used = {
        "dsp": (fabric.dsp, board.dsp),
        "lut": (round(fabric.lut), board.lut),
        "ff": (round(fabric.ff), board.ff),
        "bram": (memory.bram18 / 2, board.bram36),
        "uram": (memory.uram, board.uram),
    }
    values = {
        "fpga.latency_ms": milliseconds,
        "fpga.fps": 1e3 / milliseconds,
        "fpga.cycles": cost.cycles,
        "fpga.compute_cycles": sum(layer.compute_cycles for layer in cost.layers),
        "fpga.vector_cycles": sum(layer.vector_cycles for layer in cost.layers),
        "fpga.dram_cycles": sum(layer.dram_cycles for layer in cost.layers),
        "fpga.dram_mb": sum(layer.dram_bytes for layer in cost.layers) / 1e6,
        "fpga.energy_mj": cost.energy_mj,
    }
    for name, (amount, limit) in used.items():
        values["fpga.bram36" if name == "bram" else f"fpga.{name}"] = amount
        values[f"fpga.{name}_pct"] = 100 * amount / limit if limit else 0.0
    for part, resources in cost.parts.items():
        values[f"fpga.{part}_dsp"] = resources.dsp
        values[f"fpga.{part}_lut"] = round(resources.lut)
    return {name: float(value) for name, value in values.items()}


def memory_cost(placements: Sequence[Placement], accelerator: Accelerator, board: Board) -> Memory:
    """Return the blocks of the buffers, the constants, the line buffers and DRAM controllers."""
    return _blocks(buffers(placements, accelerator, has_uram=board.uram > 0), board)


def _blocks(memories: Mapping[str, Buffer], board: Board) -> Memory:
    controllers = Memory(bram18=board.memory_controllers * board.controller_bram18)
    return sum((memory.blocks for memory in memories.values()), start=controllers)


def _mac_array(
    build: Build | None, accelerator: Accelerator, dsp_type: str, profile: str
) -> Fabric:
    if build is None:
        return Fabric()
    rows, cols = accelerator.mac_rows, accelerator.mac_cols
    widths = build.weight_bits, build.activation_bits, build.accumulator_bits
    if accelerator.mac_pe == "lut":
        return lut_pe(*widths, profile) * (rows * cols)
    dsps = array_dsps(rows, cols, build.packed, accelerator.dataflow)
    group = dsp_pe_group(*widths, build.modes[-1], dsp_type)
    return (group + Fabric(lut=reconfiguration_lut(len(build.modes)))) * dsps


def _shift_array(build: Build | None, accelerator: Accelerator) -> Fabric:
    if build is None:
        return Fabric()
    pe = log2_pe(build.weight_bits, build.activation_bits, build.accumulator_bits)
    return pe * (accelerator.shift_rows * accelerator.shift_cols)


def _depthwise(build: Build | None, accelerator: Accelerator, profile: str) -> Fabric:
    if build is None:
        return Fabric()
    widths = build.weight_bits, build.activation_bits, build.accumulator_bits
    if not build.packed.products:
        lane = log2_pe(*widths)
    elif accelerator.mac_pe == "lut":
        lane = lut_pe(*widths, profile)
    else:
        lane = dsp_pe_group(*widths, build.packed)
    return lane * accelerator.depthwise_lanes


def _memory_controller(board: Board) -> Fabric:
    each = Fabric(board.controller_lut, board.controller_ff, board.controller_dsp)
    return each * board.memory_controllers
