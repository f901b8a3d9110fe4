"""hardware.json: the accelerator, its number formats, and the schedule operation by operation."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from codesign.integer.model import IntegerModel, IntegerNode
from codesign.numerics.fixed_point import MAX_SHIFT, MULTIPLIER_BITS
from costmodels.accelerator import Accelerator
from costmodels.board import load_board
from costmodels.engines import Build, Placement, place
from costmodels.estimate import Cost
from costmodels.workload import MatrixLayer, VectorOperation, Workload

_ENGINES = ("mac_array", "shift_array", "depthwise")
_WIDTHS = ("weight_scheme", "weight_bits", "activation_bits", "output_bits")
_MATRIX_KEYS = ("kind", "m", "k", "n", "repeats", *_WIDTHS)
_VECTOR_KEYS = ("function", "elements", "row_length", "input_bits", "output_bits")


def hardware_json(
    model: IntegerModel, accelerator: Accelerator, cost: Cost, workload: Workload
) -> dict[str, Any]:
    """Return what an RTL engineer configures the accelerator template with, JSON-able.

    Args:
        model: The integer model; gives the widths of codes and accumulators.
        accelerator: The design's accelerator.
        cost: Its cost; gives engine, cycles and DRAM traffic of each operation.
        workload: What the network asks of it; gives shapes and fused work.
    """
    placements, builds = place(workload, accelerator, load_board(accelerator.board).dsp_type)
    return {
        "schema_version": 1,
        "model": model.name,
        "board": _board(accelerator),
        "clock_mhz": accelerator.clock_mhz,
        "dataflow": accelerator.dataflow,
        "precision": accelerator.precision,
        "engines": {name: _engine(name, builds.get(name), accelerator) for name in _ENGINES},
        "vector_unit": {"lanes": accelerator.vector_lanes},
        "buffers_kb": {
            "input": accelerator.input_buffer_kb,
            "weight": accelerator.weight_buffer_kb,
            "output": accelerator.output_buffer_kb,
            "note": "1 kB = 1024 bytes; each buffer has two halves of this size",
        },
        "number_formats": {
            "input": model.input_format.to_json(),
            "logits": model.logits_format.to_json(),
            "accumulator_bits": max(
                (accumulator_bits(n) for n in model.nodes if "accumulator_bound" in n.attributes),
                default=0,
            ),
            "multiplier_bits": MULTIPLIER_BITS,
            "shift_range": [1, MAX_SHIFT],
        },
        "layers": [_widths(node) for node in model.nodes if "weight" in node.tensors],
        "schedule": _schedule(cost, workload, placements),
    }


def _board(accelerator: Accelerator) -> dict[str, Any]:
    board = load_board(accelerator.board)
    ceilings = {
        name: getattr(board, f"{name}_ceiling") for name in ("lut", "ff", "dsp", "bram", "uram")
    }
    return {
        "name": board.name,
        "part": board.part,
        "dsp_type": board.dsp_type,
        "resources": board.limits,
        "usable_share": ceilings,
        "dram_gb_s": board.bandwidth_gb_s,
        "dram_bytes_per_cycle_sustained": board.bytes_per_cycle(accelerator.clock_mhz),
    }


def _engine(name: str, build: Build | None, a: Accelerator) -> dict[str, Any]:
    """Return an engine's size and what its PEs are built for; None where no layer uses it."""
    sizes = {
        "mac_array": {"rows": a.mac_rows, "cols": a.mac_cols},
        "shift_array": {"rows": a.shift_rows, "cols": a.shift_cols},
        "depthwise": {"lanes": a.depthwise_lanes},
    }
    if build is None:
        return {**sizes[name], "used": False}
    return {
        **sizes[name],
        "used": True,
        "weight_bits": build.weight_bits,
        "activation_bits": build.activation_bits,
        "accumulator_bits": build.accumulator_bits,
        "products_per_dsp": build.packed.products,
        "products_per_dsp_of_modes": [mode.products for mode in build.modes],
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


def _schedule(
    cost: Cost, workload: Workload, placements: Sequence[Placement]
) -> list[dict[str, Any]]:
    operations = {operation.name: operation for operation in workload.operations}
    placed = {placement.layer.name: placement for placement in placements}
    fused: dict[str, list[dict[str, Any]]] = {}
    for vector in workload.vector_operations:
        if vector.fused_into is not None:
            work = {"name": vector.name, "function": vector.function, "elements": vector.elements}
            fused.setdefault(vector.fused_into, []).append(work)
    steps = []
    for layer in cost.layers:
        step = {**asdict(layer), **_work(operations[layer.name])}
        if layer.name in placed:
            step["rows"], step["cols"] = placed[layer.name].rows, placed[layer.name].cols
            step["fused"] = fused.get(layer.name, [])
            step["parts"] = [_part(part) for part in placed[layer.name].parts]
        steps.append(step)
    return steps


def _part(part: Placement) -> dict[str, Any]:
    """Return one array's share of a layer that is split by output channel."""
    layer = part.layer
    return {
        "engine": part.engine,
        "rows": part.rows,
        "cols": part.cols,
        "weight_scheme": layer.weight_scheme,
        "n": layer.n,
        "repeats": layer.repeats,
    }


def _work(operation: MatrixLayer | VectorOperation) -> dict[str, Any]:
    keys = _MATRIX_KEYS if isinstance(operation, MatrixLayer) else _VECTOR_KEYS
    return {key: getattr(operation, key) for key in keys}
