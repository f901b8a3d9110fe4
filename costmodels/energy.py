"""Energy for one image: relative figures, to rank designs with, not to size a supply by.

A LUT or a DSP at work, a bit of on-chip memory and a bit of DRAM have an energy
(`reference/energy.csv`, a source for each); what works for a product or an element are the LUTs and
DSPs of its circuit as synthesised. A device at rest takes a power that grows with its size. The
events are those of silicon at 45 nm; one factor for all that happens on chip and the power at rest
are fitted to published powers of boards (`reference/energy_calibration.csv`; errors in
`provenance.py`).
"""

from collections.abc import Mapping, Sequence
from functools import cache

from costmodels.board import Board
from costmodels.buffers import Buffer
from costmodels.cost import LayerCost
from costmodels.engines import Placement, lane_widths
from costmodels.operands import operand_bits, shift_code_bits
from costmodels.pe import dsp_pe_group, log2_pe, lut_pe
from costmodels.tables import read_table
from costmodels.vector_unit import Fabric, circuit_cost, function_of
from costmodels.workload import VectorOperation

_MJ = 1e-9  # millijoules in a picojoule


def energy_mj(
    placements: Sequence[Placement],
    layers: Sequence[LayerCost],
    operations: Sequence[VectorOperation],
    dataflow: str,
    seconds: float,
    board: Board,
    memories: Mapping[str, Buffer],
) -> float:
    """Return the energy in millijoules of one image that takes `seconds`.

    The arguments are those of `on_chip_mj` and `dram_mj`.
    """
    events = on_chip_mj(placements, layers, operations, dataflow, memories)
    factor = calibration()["on_chip_factor"]
    return factor * sum(events.values()) + dram_mj(layers, board) + rest_w(board) * seconds * 1e3


def on_chip_mj(
    placements: Sequence[Placement],
    layers: Sequence[LayerCost],
    operations: Sequence[VectorOperation],
    dataflow: str,
    memories: Mapping[str, Buffer],
) -> dict[str, float]:
    """Return the on-chip energy in millijoules of one image before calibration, by part.

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
    bit_pj = [_memory_bit_pj(memories[name]) for name in ("input", "weight", "output")]
    multiply = buffers = 0.0
    for placement in placements:
        cycles = cost[placement.layer.name].compute_cycles / placement.passes
        read = lane_widths(placement, dataflow)[:2]
        written = placement.layer.output_elements * placement.accumulator_bits
        bits = (read[0] * cycles, read[1] * cycles, written)
        buffers += sum(pj * count for pj, count in zip(bit_pj, bits, strict=True))
        for part in placement.parts or (placement,):
            multiply += part.layer.macs * mac_pj(part)
    vector = sum(op.elements * vector_pj(op) for op in operations)
    return {"multiply": multiply * _MJ, "buffers": buffers * _MJ, "vector": vector * _MJ}


def dram_mj(layers: Sequence[LayerCost], board: Board) -> float:
    """Return the energy in millijoules of the bytes one image moves to and from DRAM."""
    bit_pj = figures()[f"dram_bit.{memory_kind(board.name)}"]
    return sum(layer.dram_bytes for layer in layers) * 8 * bit_pj * _MJ


def rest_w(board: Board) -> float:
    """Return the power in watts of a board that computes nothing, its device larger or smaller."""
    fitted = calibration()
    return fitted["board_w"] + fitted["rest_w_per_100k_lut"] * board.lut / 1e5


def mac_pj(placement: Placement) -> float:
    """Return the picojoules of one multiply-accumulate, before calibration.

    That of the PE's LUTs, as they are synthesised for the layer's own widths, and of its DSP, which
    the products packed into it share. A shift-and-add is done once for each term.
    """
    layer = placement.layer
    if placement.packed.products == 0:
        widths = shift_code_bits(layer), layer.activation_bits, placement.accumulator_bits
        return placement.passes * _fabric_pj(log2_pe(*widths))
    widths = operand_bits(layer), layer.activation_bits, placement.accumulator_bits
    if placement.in_luts:
        return _fabric_pj(lut_pe(*widths))
    return _fabric_pj(dsp_pe_group(*widths, placement.packed)) / placement.packed.products


def vector_pj(operation: VectorOperation) -> float:
    """Return the picojoules of one element in the vector unit, before calibration.

    That of its function's circuit as synthesised, at every pass.
    """
    return function_of(operation).passes * _fabric_pj(circuit_cost(operation))


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


def _memory_bit_pj(memory: Buffer) -> float:
    return figures()["uram_bit" if memory.blocks.uram else "bram_bit"]
