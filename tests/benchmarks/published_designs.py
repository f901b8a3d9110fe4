"""Published designs as the template prices them: by what rules, and the prices of all of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import timm

from codesign.design import Design, LayerFormat
from codesign.graph.capture import capture
from codesign.graph.workload import workload
from costmodels import fpga
from costmodels.accelerator import Accelerator
from costmodels.board import Board, load_board
from costmodels.buffers import buffers
from costmodels.energy import dram_mj, on_chip_mj
from costmodels.engines import place
from costmodels.files import write_atomic
from costmodels.grid import Grid
from costmodels.packing import packing
from costmodels.tables import read_table
from costmodels.workload import MatrixLayer, Workload

DPU_MACS, DPU_LANES, DPU_BRAM36 = 2048, 64, 255
"""B4096: 8 x 16 x 16 a cycle (PG338 v1.2); of depthwise layers half of 8 x 16, which agrees with
the 48 DSPs of that part, 3/4 of a DSP a lane as in all eight architectures; BRAM of PG338 v4.0."""
Row = dict[str, str]


@dataclass(frozen=True)
class Prediction:
    """What the template says of one published figure's design and network.

    Attributes:
        design: The group that a calibration leaves out as one.
        name: What the tables call it.
        network: timm name of the network.
        board: The board.
        predicted_fps: Images a second by the model, all cores.
        published_fps: Images a second as published.
        dsp: DSPs of all cores by the model.
        lut: LUTs of all cores by the model, multipliers in LUTs as Yosys makes them.
        on_chip_mj: On-chip energy of one image before calibration, in millijoules.
        dram_mj: DRAM energy of one image in millijoules.
        bound: Share of the cycles in layers that wait for DRAM.
        gated: The network multiplies feature maps by gates (squeeze-and-excitation).
    """

    design: str
    name: str
    network: str
    board: str
    predicted_fps: float
    published_fps: float
    dsp: int
    lut: int
    on_chip_mj: float
    dram_mj: float
    bound: float
    gated: bool

    @property
    def error(self) -> float:
        """Relative error of the images a second."""
        return self.predicted_fps / self.published_fps - 1


@cache
def network(name: str, image: int, weight_bits: int, activation_bits: int) -> Workload:
    """Return the workload of a timm model with one width everywhere."""
    graph = capture(timm.create_model(name, pretrained=False), (3, image, image), name)
    formats = LayerFormat(weight_bits, "uniform", activation_bits)
    layers = tuple((node.name, formats) for node in graph.layers)
    functions = tuple(
        (node.name, node.attributes["function"]) for node in graph.nodes if node.op == "activation"
    )
    return workload(graph, Design(layers, functions, Accelerator()))


def array_shape(macs: int) -> tuple[int, int]:
    """Return rows and columns, at most 1 : 2, that hold the most of `macs` products a cycle."""
    shapes = [(r, min(macs // r, 2 * r)) for r in range(1, math.isqrt(macs) + 1)]
    return max(shapes, key=lambda shape: (shape[0] * shape[1], shape[0]))


def dpu_accelerator(row: Row) -> Accelerator:
    """Return the template's form of one B4096 core."""
    base = Accelerator(board=row["board"], clock_mhz=float(row["clock_mhz"]))
    return _filled(base, DPU_MACS, DPU_BRAM36, DPU_LANES)


def design_accelerator(row: Row) -> Accelerator:
    """Return the template's form of a row of `published.csv`."""
    weight_bits, activation_bits = int(row["weight_bits"]), int(row["activation_bits"])
    packed = packing(weight_bits, activation_bits, dataflow="os").products
    macs = int(row["macs"]) if row["macs"] else int(row["dsp"]) * packed
    base = Accelerator(
        board=row["board"], clock_mhz=float(row["clock_mhz"]), mac_pe=row["pe"], dataflow="os"
    )
    if row["shift_macs"]:
        rows, cols = array_shape(int(row["shift_macs"]))
        base = replace(base, shift_rows=rows, shift_cols=cols)
    bram36 = float(row["bram36"]) if row["bram36"] else None
    return _filled(base, macs, bram36, int(row["lanes"]) if row["lanes"] else None)


def _filled(base: Accelerator, macs: int, bram36: float | None, lanes: int | None) -> Accelerator:
    rows, cols = array_shape(macs)
    half_kb = int(bram36 * 4.5 / 6) if bram36 else 64
    return replace(
        base,
        mac_rows=rows,
        mac_cols=cols,
        vector_lanes=cols,
        depthwise_lanes=lanes or macs // 2,
        input_buffer_kb=half_kb,
        weight_buffer_kb=half_kb,
        output_buffer_kb=half_kb,
    )


def shared(board: Board, cores: int) -> Board:
    """Return what one of several cores has of a board's DRAM."""
    return replace(board, bandwidth_gb_s=board.bandwidth_gb_s / cores)


def mixed(network: Workload, accelerator: Accelerator) -> Workload:
    """Return the workload with the channels split as the arrays' sizes are; log2 of 4 bits."""
    shift = accelerator.shift_rows * accelerator.shift_cols
    share = shift / (shift + accelerator.mac_rows * accelerator.mac_cols)
    operations = tuple(
        replace(op, weight_scheme="mixed", weight_bits=4, log2_share=share)
        if isinstance(op, MatrixLayer) and op.kind != "matmul"
        else op
        for op in network.operations
    )
    return replace(network, operations=operations)


def predict(
    row: Row, design: str, accelerator: Accelerator, loaded: Workload, cores: int, fps: float
) -> Prediction:
    """Price one network on one published design."""
    board = shared(load_board(row["board"]), cores)
    cost = fpga.price(loaded, Grid.of(accelerator), board)
    layers, cycles = cost.timing.layers(), int(cost.cycles[0])
    placements, _ = place(loaded, accelerator, board.dsp_type)
    memories = buffers(placements, accelerator, has_uram=board.uram > 0)
    events = on_chip_mj(
        placements, layers, loaded.vector_operations, accelerator.dataflow, memories
    )
    waiting = sum(layer.cycles for layer in layers if layer.bound_by == "dram")
    return Prediction(
        design,
        row.get("name") or f"DPU x{cores}",
        loaded.name,
        row["board"],
        cores * accelerator.clock_mhz * 1e6 / cycles,
        fps,
        cores * round(np.ravel(cost.fabric.dsp)[0]),
        cores * round(np.ravel(cost.fabric.lut)[0]),
        sum(events.values()),
        dram_mj(layers, board),
        waiting / cycles,
        any(op.function == "mul" for op in loaded.vector_operations),
    )


def predict_dpu(row: Row) -> Prediction:
    """Price a row of `published_dpu.csv`."""
    loaded = network(row["network"], int(row["image"]), 8, 8)
    fps = float(row["multi_fps"])
    return predict(row, "dpu", dpu_accelerator(row), loaded, int(row["cores"]), fps)


def predict_design(row: Row, *, fused_chains: bool = False) -> Prediction:
    """Price a row of `published.csv`, layer by layer or with fused chains."""
    accelerator = replace(design_accelerator(row), fused_chains=fused_chains)
    widths = int(row["weight_bits"]), int(row["activation_bits"])
    loaded = network(row["network"], 224, *widths)
    if row["scheme"] == "mixed":
        loaded = mixed(loaded, accelerator)
    macs = sum(layer.macs for layer in loaded.layers)
    fps = float(row["fps"]) if row["fps"] else float(row["gops"]) * 1e9 / (2 * macs)
    return predict(row, row["design"], accelerator, loaded, 1, fps)


def store(predictions: Sequence[Prediction], path: Path) -> None:
    """Write the predictions as a table."""
    lines = [
        "# Made by `python tests/benchmarks/published.py out=...`: the template's prices.",
        "design,name,network,board,predicted_fps,published_fps,dsp,lut,on_chip_mj,dram_mj,"
        "dram_share,gated",
    ]
    lines += [
        f"{p.design},{p.name},{p.network},{p.board},{p.predicted_fps:.6g},{p.published_fps:.6g},"
        f"{p.dsp},{p.lut},{p.on_chip_mj:.6g},{p.dram_mj:.6g},{p.bound:.4f},{p.gated:d}"
        for p in predictions
    ]
    write_atomic(path, "\n".join(lines) + "\n")


def stored() -> list[Prediction]:
    """Return the predictions that `out=` wrote."""
    names = ("predicted_fps", "published_fps", "on_chip_mj", "dram_mj")
    return [
        Prediction(
            **{name: row[name] for name in ("design", "name", "network", "board")},
            **{name: float(row[name]) for name in names},
            dsp=int(row["dsp"]),
            lut=int(row["lut"]),
            bound=float(row["dram_share"]),
            gated=row["gated"] == "1",
        )
        for row in read_table("published_model")
    ]
