"""Energy of an image or a batch: relative figures, to rank designs with, not to size a supply by.

A LUT or a DSP at work, a bit of on-chip memory and a bit of DRAM have an energy
(`reference/energy.csv`, a source for each); what works for a product or an element are the LUTs and
DSPs of its circuit as synthesised. A device at rest takes a power that grows with its size. The
events are those of silicon at 45 nm; one factor for all that happens on chip and the power at rest
are fitted to published powers of boards (`reference/energy_calibration.csv`; errors in
`provenance.py`).
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from costmodels.board import Board
from costmodels.buffers import Blocks, Buffer
from costmodels.cost import LayerCost
from costmodels.engines import Placement, Plan, lane_widths
from costmodels.latency import Timing
from costmodels.operands import operand_bits, shift_code_bits
from costmodels.pe import dsp_pe_group, log2_pe, lut_pe
from costmodels.systolic import Integers
from costmodels.tables import read_table
from costmodels.vector_unit import Fabric, circuit_cost, circuit_of, function_of
from costmodels.workload import VectorOperation

_MJ = 1e-9  # millijoules in a picojoule


def energy_mj(
    planned: Plan,
    widths: Integers,
    timing: Timing,
    operations: Sequence[VectorOperation],
    seconds: NDArray[np.float64],
    board: Board,
    memories: Mapping[str, Blocks],
) -> NDArray[np.float64]:
    """Return the energy in millijoules of a workload on every accelerator of a grid.

    Args:
        planned: The layers on their engines.
        widths: Bits a cycle that each layer reads and writes, shape (accelerators, layers, 3).
        timing: Cycles and bytes of every operation.
        operations: The work of the vector unit.
        seconds: Its time, shape (accelerators,).
        board: Their board.
        memories: The memories' blocks by name.
    """
    compute = timing.compute_cycles[:, : len(planned.placements)]
    in_uram = {name: blocks.uram > 0 for name, blocks in memories.items()}
    passes = planned.passes[planned.starts]  # a split layer and its parts pass once
    events = _on_chip_mj(planned.placements, passes, widths, compute, operations, in_uram)
    moved = _moved_mj(timing.dram_bytes.sum(axis=1), board)
    factor = calibration()["on_chip_factor"]
    return factor * sum(events.values()) + moved + rest_w(board) * seconds * 1e3


def on_chip_mj(
    placements: Sequence[Placement],
    layers: Sequence[LayerCost],
    operations: Sequence[VectorOperation],
    dataflow: str,
    memories: Mapping[str, Buffer],
) -> dict[str, float]:
    """Return the on-chip energy in millijoules of a workload before calibration, by part.

    Args:
        placements: The matrix layers on their engines.
        layers: Cost of every operation, of the matrix layers among them.
        operations: The work of the vector unit.
        dataflow: "os", "ws" or "is".
        memories: The template's memories by name; UltraRAM costs more a bit than block RAM.

    Returns:
        Energy of "multiply" (and accumulate), "buffers" and "vector".
    """
    cost = {layer.name: layer for layer in layers if layer.engine != "vector"}
    widths = [lane_widths(placement, dataflow) for placement in placements]
    compute = [cost[placement.layer.name].compute_cycles for placement in placements]
    in_uram = {name: memory.blocks.uram > 0 for name, memory in memories.items()}
    events = _on_chip_mj(
        placements,
        np.array([placement.passes for placement in placements], dtype=np.int64),
        np.array([widths], dtype=np.int64).reshape(1, -1, 3),
        np.array([compute], dtype=np.int64),
        operations,
        in_uram,
    )
    return {part: float(np.ravel(energy)[0]) for part, energy in events.items()}


def _on_chip_mj(
    placements: Sequence[Placement],
    passes: Integers,
    widths: Integers,
    compute: Integers,
    operations: Sequence[VectorOperation],
    in_uram: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what `on_chip_mj` does, for many accelerators.

    Args:
        placements: The layers on their engines.
        passes: Their `Placement.passes`.
        widths: Bits a cycle that they read and write, shape (accelerators, layers, 3).
        compute: Cycles of the engines, shape (accelerators, layers).
        operations: The work of the vector unit.
        in_uram: Whether the memories of each name are UltraRAM, shape (accelerators,).
    """
    inputs, weights, outputs = (
        np.where(in_uram[name], figures()["uram_bit"], figures()["bram_bit"])
        for name in ("input", "weight", "output")
    )
    cycles = compute / passes
    read = [(widths[..., i] * cycles).sum(axis=1) for i in (0, 1)]
    written = sum([p.layer.output_elements * p.accumulator_bits for p in placements])
    buffers = inputs * read[0] + weights * read[1] + outputs * written
    parts = [part for placement in placements for part in placement.parts or (placement,)]
    multiply = sum([part.layer.macs * mac_pj(part) for part in parts])
    vector = sum([operation.elements * vector_pj(operation) for operation in operations])
    return {"multiply": multiply * _MJ, "buffers": buffers * _MJ, "vector": vector * _MJ}


def dram_mj(layers: Sequence[LayerCost], board: Board) -> float:
    """Return the energy in millijoules of the bytes a workload moves to and from DRAM."""
    return _moved_mj(sum(layer.dram_bytes for layer in layers), board)


def _moved_mj(moved_bytes: Any, board: Board) -> Any:
    return moved_bytes * 8 * figures()[f"dram_bit.{memory_kind(board.name)}"] * _MJ


def rest_w(board: Board) -> float:
    """Return the power in watts of a board that computes nothing, its device larger or smaller."""
    fitted = calibration()
    return fitted["board_w"] + fitted["rest_w_per_100k_lut"] * board.lut / 1e5


def mac_pj(placement: Placement) -> float:
    """Return the picojoules of one multiply-accumulate, before calibration.

    That of the PE's LUTs, as they are synthesised for the layer's own widths, and of its DSP, which
    the products packed into it share. A shift-and-add is done once for each term.
    """
    layer, sums, products = placement.layer, placement.accumulator_bits, placement.packed.products
    if products == 0:
        bits = shift_code_bits(layer)
        return placement.passes * _pe_pj(log2_pe, bits, layer.activation_bits, sums)
    bits = operand_bits(layer)
    if placement.in_luts:
        return _pe_pj(lut_pe, bits, layer.activation_bits, sums)
    return _pe_pj(dsp_pe_group, bits, layer.activation_bits, sums, placement.packed) / products


def vector_pj(operation: VectorOperation) -> float:
    """Return the picojoules of one element in the vector unit, before calibration.

    That of its function's circuit as synthesised, at every pass.
    """
    return function_of(operation).passes * _circuit_pj(circuit_of(operation))


@cache
def _pe_pj(pe: Callable[..., Fabric], *built_for: Hashable) -> float:
    return _fabric_pj(pe(*built_for))


@cache
def _circuit_pj(circuit: str) -> float:
    return _fabric_pj(circuit_cost(circuit))


def _fabric_pj(fabric: Fabric) -> float:
    return figures()["lut"] * fabric.lut + figures()["dsp_cycle"] * fabric.dsp


@cache
def figures() -> dict[str, float]:
    """Return the energies per event of `reference/energy.csv`, by name, in picojoules."""
    return {row["figure"]: float(row["value"]) for row in read_table("energy")}


@cache
def calibration() -> dict[str, float]:
    """Return the fitted parameters of `reference/energy_calibration.csv`, by name."""
    return {row["parameter"]: float(row["value"]) for row in read_table("energy_calibration")}


@cache
def memory_kind(board: str) -> str:
    """Return the kind of off-chip memory of a board by its name: "ddr3", "ddr4" or "hbm2"."""
    kinds = {row["board"]: row["memory"] for row in read_table("energy_memory")}
    return kinds.get(board, "ddr4")
