"""One network on many accelerators at once, by the formulas of `estimate`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from costmodels import gpu
from costmodels.accelerator import Accelerator
from costmodels.board import load_board
from costmodels.cost import Cost
from costmodels.cycles import CycleModel
from costmodels.engines import plan
from costmodels.errors import CostModelError
from costmodels.estimate import (
    checked_batch,
    cycle_model,
    estimate,
    gpu_metrics,
    model_metrics,
    price_grid,
)
from costmodels.grid import Grid, split
from costmodels.latency import Timing
from costmodels.provenance import provenance
from costmodels.validate import check_accelerators
from costmodels.workload import MatrixLayer, Workload

# Figures of `LayerCost` that `estimate_many` returns as arrays when asked.
LAYER_FIGURES = (
    "cycles", "compute_cycles", "vector_cycles", "dram_cycles", "dram_bytes", "bound_by",
    "utilisation",
)  # fmt: skip
# Accelerators times operations priced at once: arrays of half a megabyte stay in the cache.
_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Costs:
    """Every cost figure of one workload on many accelerators.

    Attributes:
        metrics: Values by the names of `Cost.metrics`, arrays of shape (accelerators,).
        operations: Names of the operations that `layers` prices, in execution order.
        layers: The figures of `LayerCost` that were asked for, by name, arrays of shape
            (accelerators, operations).
        provenance: What backs the figures, as in `Cost`.
    """

    metrics: Mapping[str, NDArray[np.float64]]
    operations: tuple[str, ...]
    layers: Mapping[str, NDArray[Any]]
    provenance: Mapping[str, str]
    _one: Callable[[int], Cost]

    def cost(self, index: int) -> Cost:
        """Return the whole cost of one accelerator, every operation included.

        Raises:
            IndexError: There is no such accelerator.
        """
        return self._one(index)


def estimate_many(
    workload: Workload,
    accelerators: Sequence[Accelerator],
    *,
    layers: Iterable[str] = (),
    batch: int = 1,
    cycles: str | CycleModel = "closed_form",
    fabric: str = "yosys",
    gpus: Sequence[str] = (),
    gpu_profile: str = gpu.DEFAULT,
    gpu_precision: str = "int8",
) -> Costs:
    """Price a network on many accelerators; each is priced as `estimate` does it.

    Accelerators that share a board, a dataflow, precision, multipliers and engines are priced
    together, and tiles are searched once for each distinct set of arrays and buffers, so that a
    regular grid is quicker than as many unrelated accelerators. Memory for intermediate figures
    does not grow with their number.

    Args:
        workload: The network.
        accelerators: The FPGA designs, on any boards.
        layers: Figures to return for every operation, some of LAYER_FIGURES; 8 bytes (28 for
            "bound_by") an accelerator and operation each.
        batch: As for `estimate`.
        cycles: As for `estimate`; SCALE-Sim's reports of full runs are not for many accelerators.
        fabric: As for `estimate`.
        gpus: As for `estimate`.
        gpu_profile: As for `estimate`.
        gpu_precision: As for `estimate`.

    Raises:
        CostModelError: Something in the input cannot be priced; the message names it.
    """
    model, wanted = cycle_model(cycles), tuple(layers)
    _check_options(model, wanted)
    check_accelerators(accelerators)
    images = checked_batch(workload, batch)
    metrics, figures = _price(images, batch, accelerators, model, fabric, wanted)
    others = model_metrics(workload)
    others |= gpu_metrics(workload, gpus, gpu_profile, gpu_precision, batch)
    metrics |= {name: np.full(len(accelerators), value) for name, value in others.items()}
    backing = {"gpu": gpu.load_profile(gpu_profile).backing} if gpus else {}

    def one(index: int) -> Cost:
        return estimate(
            workload,
            accelerators[index],
            batch=batch,
            cycles=model,
            fabric=fabric,
            gpus=gpus,
            gpu_profile=gpu_profile,
            gpu_precision=gpu_precision,
        )

    return Costs(
        metrics, _operations(workload), figures, provenance(model.backing, fabric) | backing, one
    )


def _check_options(model: CycleModel, figures: Sequence[str]) -> None:
    if model.reports_dir is not None:
        raise CostModelError("reports_dir: full runs are kept for one accelerator; use estimate()")
    for name in figures:
        if name not in LAYER_FIGURES:
            raise CostModelError(
                f"layers: unknown figure '{name}'. Known: {', '.join(LAYER_FIGURES)}."
            )


def _price(
    workload: Workload,
    batch: int,
    accelerators: Sequence[Accelerator],
    model: CycleModel,
    fabric: str,
    wanted: Sequence[str],
) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[Any]]]:
    metrics: dict[str, NDArray[np.float64]] = {}
    figures: dict[str, NDArray[Any]] = {}
    for at, grid in split(accelerators):
        for where, timing, values in _chunks(workload, batch, grid, model, fabric):
            rows = at[where]
            for name, value in values.items():
                column = metrics.setdefault(name, np.empty(len(accelerators)))
                column[rows] = value
            for name in wanted:
                value = timing.figure(name)
                shape = len(accelerators), value.shape[1]
                figures.setdefault(name, np.empty(shape, dtype=value.dtype))[rows] = value
    return metrics, figures


def _chunks(
    workload: Workload, batch: int, grid: Grid, model: CycleModel, fabric: str
) -> Iterable[tuple[slice, Timing, dict[str, Any]]]:
    """Yield the grid's accelerators in parts of bounded size: where, layer by layer, metrics."""
    planned = plan(workload, grid.kind, load_board(grid.kind.board).dsp_type)
    length = max(1, _AT_ONCE // len(workload.operations))
    for where, part in grid.chunks(length):
        priced, values = price_grid(workload, part, model, fabric, planned, batch)
        yield where, priced.timing, values


def _operations(workload: Workload) -> tuple[str, ...]:
    return tuple(
        op.name
        for op in workload.operations
        if isinstance(op, MatrixLayer) or op.fused_into is None
    )
