"""hardware.json: the accelerator, its number formats, and the schedule operation by operation."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from codesign.export.chains import chain_entries
from codesign.export.schedule import schedule, scheduled_tensors
from codesign.integer.model import IntegerModel, IntegerNode
from codesign.numerics.fixed_point import MAX_SHIFT, MULTIPLIER_BITS
from costmodels.accelerator import Accelerator
from costmodels.batch import batched
from costmodels.board import Board, load_board
from costmodels.buffers import Buffer, buffers
from costmodels.engines import Build, Placement, place
from costmodels.estimate import Cost
from costmodels.workload import Workload

_ENGINES = ("mac_array", "shift_array", "depthwise")
_BIAS_BITS = 32


def hardware_json(
    model: IntegerModel,
    accelerator: Accelerator,
    cost: Cost,
    workload: Workload,
    *,
    memories: Iterable[Mapping[str, Any]] = (),
    golden_memories: Iterable[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Return what an RTL engineer configures the accelerator template with, JSON-able.

    Args:
        model: The integer model; gives the widths of codes and accumulators.
        accelerator: The design's accelerator.
        cost: Its cost; gives the batch, engine, cycles and DRAM traffic of each operation.
        workload: What the network asks of it for one image; gives shapes and fused work.
        memories: What each file of mem/ holds, one entry a file.
        golden_memories: Likewise of golden/mem/.
    """
    board = load_board(accelerator.board)
    images = batched(workload, cost.batch)
    placements, builds = place(images, accelerator, board.dsp_type)
    steps = schedule(model, accelerator, cost, images, placements)
    return {
        "schema_version": 1,
        "model": model.name,
        "board": _board(board, accelerator),
        "clock_mhz": accelerator.clock_mhz,
        "batch": cost.batch,
        "dataflow": accelerator.dataflow,
        "precision": accelerator.precision,
        "mac_pe": accelerator.mac_pe,
        "fused_chains": accelerator.fused_chains,
        "engines": {name: _engine(name, builds.get(name), accelerator) for name in _ENGINES},
        "vector_unit": {
            "lanes": accelerator.vector_lanes,
            "functions": sorted({v.function for v in workload.vector_operations}),
        },
        "buffers": _buffers(placements, accelerator, board),
        "dram": _dram(steps),
        "number_formats": _number_formats(model),
        "layers": [_widths(node) for node in model.nodes if "weight" in node.tensors],
        "tensors": scheduled_tensors(model, steps),
        "schedule": steps,
        "chains": chain_entries(cost, steps),
        "memories": [dict(entry) for entry in memories],
        "golden_memories": [dict(entry) for entry in golden_memories],
    }


def _board(board: Board, accelerator: Accelerator) -> dict[str, Any]:
    ceilings = {
        name: getattr(board, f"{name}_ceiling") for name in ("lut", "ff", "dsp", "bram", "uram")
    }
    return {
        "name": board.name,
        "part": board.part,
        "dsp_type": board.dsp_type,
        "resources": {name: int(count) for name, count in board.limits.items()},
        "usable_share": ceilings,
        "dram_gb_s": board.bandwidth_gb_s,
        "dram_bytes_per_cycle_sustained": board.bytes_per_cycle(accelerator.clock_mhz),
    }


def _number_formats(model: IntegerModel) -> dict[str, Any]:
    sums = [accumulator_bits(n) for n in model.nodes if "accumulator_bound" in n.attributes]
    return {
        "input": model.input_format.to_json(),
        "logits": model.logits_format.to_json(),
        "accumulator_bits": max(sums, default=0),
        "bias_bits": _BIAS_BITS,
        "multiplier_bits": MULTIPLIER_BITS,
        "shift_range": [1, MAX_SHIFT],
    }


def _buffers(
    placements: Sequence[Placement], accelerator: Accelerator, board: Board
) -> dict[str, Any]:
    """Return the on-chip memories; those with two halves say how large a half is."""
    made = buffers(placements, accelerator, has_uram=board.uram > 0)
    a = accelerator
    halves = {
        "input": a.input_buffer_kb,
        "weight": a.weight_buffer_kb,
        "output": a.output_buffer_kb,
    }
    described = {name: _blocks(buffer) for name, buffer in made.items()}
    for name, size_kb in halves.items():
        described[name]["half_bytes"] = size_kb * 1024
    return described


def _blocks(buffer: Buffer) -> dict[str, Any]:
    blocks = buffer.blocks
    return {
        "words": buffer.words,
        "word_bits": buffer.word_bits,
        "bram18": blocks.bram18,
        "uram": blocks.uram,
        "lutram_luts": blocks.lut,
    }


def _dram(steps: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return the bytes of one inference (of a batch), in all and by what they are."""
    kinds = ("input", "weight", "constant", "output", "side")
    moved = {f"{kind}_bytes": sum(s["dram"][f"{kind}_bytes"] for s in steps) for kind in kinds}
    return {"bytes_per_inference": sum(moved.values()), **moved}


def _engine(name: str, build: Build | None, a: Accelerator) -> dict[str, Any]:
    """Return an engine's size and what its PEs are built for; None where no layer uses it."""
    sizes = {
        "mac_array": {"rows": a.mac_rows, "cols": a.mac_cols},
        "shift_array": {"rows": a.shift_rows, "cols": a.shift_cols},
        "depthwise": {"lanes": a.depthwise_lanes},
    }
    if build is None:
        return {**sizes[name], "used": False}
    on_dsps = a.mac_pe == "dsp"
    return {
        **sizes[name],
        "used": True,
        "weight_bits": build.weight_bits,
        "activation_bits": build.activation_bits,
        "accumulator_bits": build.accumulator_bits,
        "products_per_dsp": build.packed.products * on_dsps,
        "products_per_dsp_of_modes": [mode.products * on_dsps for mode in build.modes],
    }


def accumulator_bits(node: IntegerNode) -> int:
    """Return the width, sign included, that holds a node's accumulator by its proved bound."""
    return int(node.attributes["accumulator_bound"]).bit_length() + 1


def _widths(node: IntegerNode) -> dict[str, Any]:
    a = node.attributes
    return {
        "name": node.name,
        "weight_scheme": a["weight_scheme"],
        "weight_bits": a["weight_bits"],
        "accumulator_bound": a["accumulator_bound"],
        "accumulator_bits": accumulator_bits(node),
        **{key: a[key] for key in ("log2_channels", "weight_sparsity") if key in a},
        "output_format": node.format.to_json(),
    }
