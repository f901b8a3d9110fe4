"""The schedule of hardware.json: operation by operation, with tiling, cycles and bytes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from codesign.export.chains import ChainedSteps
from codesign.integer.model import IntegerModel, IntegerNode
from costmodels.accelerator import Accelerator
from costmodels.engines import Placement
from costmodels.estimate import Cost
from costmodels.latency import side_bytes
from costmodels.tiling import Tiling, Traffic, layer_traffic, whole_bytes
from costmodels.vector_unit import operation_bits
from costmodels.workload import VectorOperation, Workload

_WIDTHS = ("weight_scheme", "weight_bits", "activation_bits", "output_bits")
_MATRIX_KEYS = ("kind", "m", "k", "n", "repeats", *_WIDTHS)
_VECTOR_KEYS = ("function", "elements", "row_length", "input_bits", "output_bits")
_AXES = ("m", "k", "n")
Json = dict[str, Any]


def schedule(
    model: IntegerModel,
    accelerator: Accelerator,
    cost: Cost,
    workload: Workload,
    placements: Sequence[Placement],
) -> list[Json]:
    """Return the operations in the order in which they run, each JSON-able.

    Args:
        model: Gives the tensors each operation reads and writes, and proved accumulators.
        accelerator: The design's accelerator.
        cost: Gives engine, cycles, DRAM bytes and chains.
        workload: Gives shapes and fused work, of the whole batch.
        placements: The workload's matrix layers on their engines.
    """
    nodes = {node.name: node for node in model.nodes}
    chained = ChainedSteps(workload, cost)
    matrices = _Matrices(workload, placements, accelerator, chained)
    vectors = {operation.name: operation for operation in workload.vector_operations}
    steps = []
    for layer in cost.layers:
        step = asdict(layer)
        if layer.name in vectors:
            step |= _vector_step(vectors[layer.name], chained)
            fused: Sequence[VectorOperation] = ()
        else:
            step |= matrices.step(layer.name, nodes[layer.name])
            fused = matrices.fused.get(layer.name, ())
        steps.append({**step, **_tensors(layer.name, fused, nodes)})
    return steps


def scheduled_tensors(model: IntegerModel, steps: Sequence[Mapping[str, Any]]) -> Json:
    """Return shape and number format of every tensor that a schedule reads or writes, by name."""
    names = {name for step in steps for name in (*step["inputs"], step["output"])}
    return {
        node.name: {"shape": list(node.shape), "format": node.format.to_json()}
        for node in model.nodes
        if node.name in names
    }


class _Matrices:
    """Describes the matrix layers."""

    def __init__(
        self,
        workload: Workload,
        placements: Sequence[Placement],
        accelerator: Accelerator,
        chained: ChainedSteps,
    ) -> None:
        self._chained = chained
        moved = layer_traffic(placements, accelerator)
        self.placed = {p.layer.name: (p, t) for p, t in zip(placements, moved, strict=True)}
        self.fused: dict[str, list[VectorOperation]] = {}
        for vector in workload.vector_operations:
            if vector.fused_into is not None:
                self.fused.setdefault(vector.fused_into, []).append(vector)

    def step(self, name: str, node: IntegerNode) -> Json:
        """Return what is known of one layer besides its cost."""
        placement, traffic = self.placed[name]
        work = self.fused.get(name, [])
        if name in self._chained:
            tiling, dram = self._chained.bands(name), _dram(*self._chained.traffic(name))
        else:
            tiling = _tiling(traffic.tiling) if traffic.tiling else _streaming(placement)
            dram = _dram(traffic, sum(side_bytes(vector) for vector in work))
        return {
            **{key: getattr(placement.layer, key) for key in _MATRIX_KEYS},
            "rows": placement.rows,
            "cols": placement.cols,
            "passes": placement.passes,
            "accumulator_bits": int(node.attributes["accumulator_bound"]).bit_length() + 1,
            "fused": [_fused(vector) for vector in work],
            "parts": [_part(part) for part in placement.parts],
            "tiling": tiling,
            "dram": dram,
        }


def _fused(vector: VectorOperation) -> Json:
    return {key: getattr(vector, key) for key in ("name", *_VECTOR_KEYS)}


def _part(part: Placement) -> Json:
    """Return one array's share of a layer that is split by output channel."""
    layer = part.layer
    return {
        "engine": part.engine,
        "rows": part.rows,
        "cols": part.cols,
        "passes": part.passes,
        "weight_scheme": layer.weight_scheme,
        "n": layer.n,
        "repeats": layer.repeats,
    }


def _tiling(t: Tiling) -> Json:
    return {
        **{f"tile_{axis}": getattr(t, axis) for axis in _AXES},
        "tiles": dict(zip(_AXES, t.counts, strict=True)),
        "loop_order": list(t.loop_order),
        "buffer_bytes": {
            "input": t.input_bytes,
            "weight": t.weight_bytes,
            "output": t.output_bytes,
        },
        "halo_bytes": t.halo_bytes,
    }


def _streaming(placement: Placement) -> Json:
    """Return how the depthwise engine works: all pixels of as many channels as it has lanes."""
    layer = placement.layer
    return {
        "channels_at_once": placement.rows,
        "passes": -(-layer.repeats * layer.n // placement.rows),
        "line_buffer_rows": max(layer.kernel_height - 1, 0),
    }


def _dram(traffic: Traffic, side: int) -> Json:
    return {
        "input_bytes": traffic.input_bytes,
        "weight_bytes": traffic.weight_bytes,
        "constant_bytes": traffic.constant_bytes,
        "output_bytes": traffic.output_bytes,
        "side_bytes": side,
    }


def _vector_step(vector: VectorOperation, chained: ChainedSteps) -> Json:
    read, written = whole_bytes(operation_bits(vector))
    moved = Traffic(read, 0, 0, written, None), 0
    if vector.name in chained:
        moved = chained.traffic(vector.name)
    return {**{key: getattr(vector, key) for key in _VECTOR_KEYS}, "dram": _dram(*moved)}


def _tensors(name: str, fused: Sequence[VectorOperation], nodes: Mapping[str, IntegerNode]) -> Json:
    """Return the names of the codes read and written; none for what another's stage does."""
    written = [vector.name for vector in fused if vector.name in nodes]
    known = name in nodes
    output = (written or [name])[-1] if known else None
    return {"inputs": list(nodes[name].inputs) if known else [], "output": output}
