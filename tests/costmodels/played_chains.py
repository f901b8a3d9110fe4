"""What a chain takes, played from first principles, band by band and job by job."""

from typing import Any

import numpy as np

from costmodels import systolic
from costmodels.accelerator import Accelerator
from costmodels.board import load_board
from costmodels.chains import find_chains
from costmodels.chains.bands import cut
from costmodels.workload import MatrixLayer, VectorOperation, Workload


def played(workload: Workload, accelerator: Accelerator, height: int) -> tuple[int, int] | None:
    """Cycles and bytes of the one chain of a workload in bands of a height, or None: no room."""
    (chain,) = find_chains(workload)
    place = cut(chain).height.tolist().index(height)
    kinds = cut(chain).rows[place].tolist()
    bands = -(-chain.stages[-1].rows.count // height)
    halves = [8192 * getattr(accelerator, f"{n}_buffer_kb") for n in ("input", "weight", "output")]
    held, kept = [0, 0, 0], [0, 0, 0]
    rows = [[k[2]] if bands == 1 else [k[0], *[k[1]] * (bands - 2), k[2]] for k in kinds]
    before = None
    for stage, counts in zip(chain.stages, rows, strict=True):
        op = stage.operation
        vector = isinstance(op, VectorOperation)
        per_row = (8 * op.input_elements // chain.units // stage.rows.count) if not vector else 0
        if before:  # of the stage before, in its rows
            per_row = 8 * before[1] // chain.units // before[0].rows.count
        window = (
            stage.rows.kept if before else -(-stage.rows.kept // getattr(op, "stride_height", 1))
        )
        most = max((before or (None, None, counts))[2]) + window
        held[2 if vector else stage.operand] += most * per_row
        if not vector:
            weights = op.input_elements if stage.operand else op.weight_elements
            constants = 0 if op.kind == "matmul" else 56 * op.n * op.repeats
            kept[0 if stage.operand else 1] += (8 * weights + constants) // chain.units
            before = stage, op.output_elements, counts
        else:
            before = stage, op.elements, counts
    if any(size > half for size, half in zip(held, halves, strict=True)):
        return None
    resident = all(a + b <= half for a, b, half in zip(held, kept, halves, strict=True))
    jobs = [
        [_job(chain, s, stage, n, b, bands, resident, accelerator) for b, n in enumerate(counts)]
        for s, (stage, counts) in enumerate(zip(chain.stages, rows, strict=True))
    ]
    jobs = [stage * chain.units for stage in jobs]
    total, steps = 0, len(jobs[0]) + len(jobs) - 1
    for step in range(steps):
        busy = np.zeros(5, dtype=np.int64)
        for s, stage in enumerate(jobs):
            if 0 <= step - s < len(stage):
                busy += stage[step - s]
        total += int(busy.max())
    return total, _bytes(chain, 1 if resident else bands)


def _job(
    chain: Any, s: int, stage: Any, rows: int, band: int, bands: int, resident: bool, a: Accelerator
) -> np.ndarray:
    """Cycles of MAC array, depthwise engine, vector unit and DRAM for one band of a stage."""
    op, share = stage.operation, rows / stage.rows.count / chain.units
    busy = np.zeros(5, dtype=np.int64)
    flow, bits = sum(_side(work) for work in stage.works), 0
    if isinstance(op, MatrixLayer):
        size = {"m": op.m, "n": op.n, stage.rows.along: rows * stage.rows.width}
        if op.kind == "depthwise" and a.depthwise_lanes:
            busy[1] = -(-op.repeats // a.depthwise_lanes) * size["m"] * op.k
        else:
            repeats = op.repeats // chain.units
            busy[0] = repeats * systolic.cycles(
                size["m"], op.k, size["n"], a.mac_rows, a.mac_cols, a.dataflow
            )
        weights = 8 * (op.input_elements if stage.operand else op.weight_elements)
        weights += 0 if op.kind == "matmul" else 56 * op.n * op.repeats
        if not resident:
            bits += weights // chain.units
        elif chain.units > 1:
            bits += -(-(weights // chain.units) // bands)
        elif band == 0:
            bits += weights
        flow += 8 * op.input_elements * (s == 0)
        flow += 8 * op.output_elements * (s == len(chain.stages) - 1)
    bits += -(-flow // (chain.units * stage.rows.count)) * rows  # whole bits a row
    passes = {"softmax": 3}
    longest = 0
    for work in stage.works:
        cycles = -(-round(work.elements * share) // a.vector_lanes)
        longest = max(longest, cycles * passes.get(work.function, 1))
    busy[2] = longest
    per_cycle = 8 * load_board(a.board).bytes_per_cycle(a.clock_mhz)
    busy[3] = np.ceil(bits / per_cycle)
    return busy


def _side(work: VectorOperation) -> int:
    return work.elements * work.input_bits * (work.function == "add")


def _bytes(chain: Any, reads: int) -> int:
    total = 0
    for s, stage in enumerate(chain.stages):
        op, bits = stage.operation, 0
        if isinstance(op, MatrixLayer):
            weights = op.input_elements if stage.operand else op.weight_elements
            constants = 0 if op.kind == "matmul" else 56 * op.n * op.repeats
            bits = (8 * weights + constants) * reads
            bits += 8 * op.input_elements * (s == 0)
            bits += 8 * op.output_elements * (s == len(chain.stages) - 1)
        total += -(-bits // 8) + sum(-(-_side(work) // 8) for work in stage.works)
    return total
