"""The FPGA template: resources, latency and energy of a grid of accelerators for one workload."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from costmodels.accelerator import Accelerator
from costmodels.board import Board
from costmodels.buffers import Blocks, blocks, buffers
from costmodels.chains import fuse_chains
from costmodels.energy import energy_mj
from costmodels.engines import Build, Placement, Plan, engine_sizes, grid_lane_widths, plan
from costmodels.fabric import control_cost, reconfiguration_lut
from costmodels.grid import Grid, once_each
from costmodels.latency import ArrayCycles, Timing, analytical_cycles, time_operations
from costmodels.memory import Memory
from costmodels.packing import array_dsps
from costmodels.pe import check_profile, dsp_pe_group, log2_pe, lut_pe
from costmodels.systolic import Integers
from costmodels.vector_unit import Fabric, lane_cost
from costmodels.workload import Workload


@dataclass(frozen=True)
class FpgaCost:
    """Resources by part of the template, and the cost of each operation, on a grid.

    Attributes:
        parts: Fabric of "mac_array", "shift_array", "depthwise", "vector", "control" and
            "memory_controller": numbers, or arrays of shape (accelerators,).
        memory: All memory blocks.
        timing: Cycles and bytes of each operation.
        cycles: Clock cycles of the workload, shape (accelerators,).
        energy_mj: Relative energy of the workload, shape (accelerators,).
    """

    parts: Mapping[str, Fabric]
    memory: Blocks
    timing: Timing
    cycles: Integers
    energy_mj: NDArray[np.float64]

    @property
    def fabric(self) -> Fabric:
        """LUTs (memory included), flip-flops and DSPs of the whole design."""
        parts = self.parts.values()
        return Fabric(
            sum([part.lut for part in parts], start=self.memory.lut),
            sum([part.ff for part in parts], start=0.0),
            sum([part.dsp for part in parts], start=0.0),
        )


def price(
    workload: Workload,
    grid: Grid,
    board: Board,
    array_cycles: ArrayCycles = analytical_cycles,
    profile: str = "yosys",
    planned: Plan | None = None,
    band_cycles: ArrayCycles | None = None,
) -> FpgaCost:
    """Price a checked workload on checked accelerators.

    Args:
        workload: The network, for one image or a batch.
        grid: The accelerators.
        board: What they are built on.
        array_cycles: Cycles of the layers placed on arrays.
        profile: What prices multipliers in LUTs, one of `pe.PROFILES`.
        planned: The layers on the grid's engines where that is known already.
        band_cycles: Cycles of bands of layers, where others are to give them.

    Raises:
        CostModelError: A layer has no engine, operands that no DSP takes, or the profile is
            unknown.
    """
    check_profile(profile)
    planned = planned or plan(workload, grid.kind, board.dsp_type)
    sizes = engine_sizes(planned, grid)
    timing = time_operations(workload, planned, sizes, grid, board, array_cycles)
    if grid.kind.fused_chains:
        bands = band_cycles or array_cycles
        timing = fuse_chains(timing, workload, planned, sizes, grid, board, bands)
    cycles = timing.cycles.sum(axis=1)
    seconds = cycles / (grid.clock_mhz * 1e6)
    widths = grid_lane_widths(planned, *sizes, grid.kind.dataflow)
    operations = workload.vector_operations
    builds = planned.builds
    parts = {
        "mac_array": _mac_array(builds.get("mac_array"), grid, board.dsp_type, profile),
        "shift_array": _shift_array(builds.get("shift_array"), grid),
        "depthwise": _depthwise(builds.get("depthwise"), grid, profile),
        "vector": lane_cost(operations) * grid.column("vector_lanes"),
        "control": control_cost(),
        "memory_controller": _memory_controller(board),
    }
    memories = blocks(widths, planned.placements, grid, has_uram=board.uram > 0)
    controllers = board.memory_controllers * board.controller_bram18
    bram18, uram, lut = (
        sum(getattr(each, kind) for each in memories.values()) for kind in ("bram18", "uram", "lut")
    )
    memory = Blocks(bram18 + controllers, uram, lut)
    energy = energy_mj(planned, widths, timing, operations, seconds, board, memories)
    return FpgaCost(parts, memory, timing, cycles, energy)


def metrics(cost: FpgaCost, grid: Grid, board: Board, batch: int = 1) -> dict[str, Any]:
    """Return the cost as metrics by dotted name; percentages are of the whole board.

    Times and bytes are those of the whole batch, images a second and energy those of an image.

    Each is an array of shape (accelerators,), or a number where it is the same for all.
    """
    fabric, memory, timing = cost.fabric, cost.memory, cost.timing
    milliseconds = cost.cycles / (grid.clock_mhz * 1e3)
    used = {
        "dsp": (fabric.dsp, board.dsp),
        "lut": (np.rint(fabric.lut), board.lut),
        "ff": (np.rint(fabric.ff), board.ff),
        "bram": (memory.bram18 / 2, board.bram36),
        "uram": (memory.uram, board.uram),
    }
    values: dict[str, Any] = {
        "fpga.latency_ms": milliseconds,
        "fpga.fps": batch * 1e3 / milliseconds,
        "fpga.cycles": cost.cycles,
        "fpga.compute_cycles": timing.compute_cycles.sum(axis=1),
        "fpga.vector_cycles": timing.vector_cycles.sum(axis=1),
        "fpga.dram_cycles": timing.dram_cycles.sum(axis=1),
        "fpga.dram_mb": timing.dram_bytes.sum(axis=1) / 1e6,
        "fpga.energy_mj": cost.energy_mj / batch,
    }
    for name, (amount, limit) in used.items():
        values["fpga.bram36" if name == "bram" else f"fpga.{name}"] = amount
        values[f"fpga.{name}_pct"] = 100 * amount / limit if limit else 0.0
    for part, resources in cost.parts.items():
        values[f"fpga.{part}_dsp"] = resources.dsp
        values[f"fpga.{part}_lut"] = np.rint(resources.lut)
    return values


def memory_cost(placements: Sequence[Placement], accelerator: Accelerator, board: Board) -> Memory:
    """Return the blocks of the buffers, the constants, the line buffers and DRAM controllers."""
    memories = buffers(placements, accelerator, has_uram=board.uram > 0).values()
    controllers = Memory(bram18=board.memory_controllers * board.controller_bram18)
    return sum((memory.blocks for memory in memories), start=controllers)


def _mac_array(build: Build | None, grid: Grid, dsp_type: str, profile: str) -> Fabric:
    if build is None:
        return Fabric()
    rows, cols = grid.column("mac_rows"), grid.column("mac_cols")
    widths = build.weight_bits, build.activation_bits, build.accumulator_bits
    if grid.kind.mac_pe == "lut":
        return lut_pe(*widths, profile) * (rows * cols)
    packed, dataflow = build.packed, grid.kind.dataflow
    dsps = once_each(lambda r, c: array_dsps(r, c, packed, dataflow), rows, cols)
    group = dsp_pe_group(*widths, build.modes[-1], dsp_type)
    return (group + Fabric(lut=reconfiguration_lut(len(build.modes)))) * dsps


def _shift_array(build: Build | None, grid: Grid) -> Fabric:
    if build is None:
        return Fabric()
    pe = log2_pe(build.weight_bits, build.activation_bits, build.accumulator_bits)
    return pe * (grid.column("shift_rows") * grid.column("shift_cols"))


def _depthwise(build: Build | None, grid: Grid, profile: str) -> Fabric:
    if build is None:
        return Fabric()
    widths = build.weight_bits, build.activation_bits, build.accumulator_bits
    if not build.packed.products:
        lane = log2_pe(*widths)
    elif grid.kind.mac_pe == "lut":
        lane = lut_pe(*widths, profile)
    else:
        lane = dsp_pe_group(*widths, build.packed)
    return lane * grid.column("depthwise_lanes")


def _memory_controller(board: Board) -> Fabric:
    each = Fabric(board.controller_lut, board.controller_ff, board.controller_dsp)
    return each * board.memory_controllers
