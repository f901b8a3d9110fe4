"""The front door of the cost models: a workload and an accelerator in, a Cost out."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from operator import mul
from pathlib import Path
from typing import Any

import numpy as np

from costmodels import fpga, gpu
from costmodels.accelerator import Accelerator
from costmodels.batch import batched
from costmodels.board import load_board, load_gpu
from costmodels.cost import Cost, LayerCost
from costmodels.cycles import CYCLE_MODELS, CycleModel
from costmodels.engines import Plan
from costmodels.errors import CostModelError
from costmodels.grid import Grid
from costmodels.provenance import provenance
from costmodels.validate import check_accelerator, check_workload
from costmodels.workload import Workload

__all__ = ["CYCLE_MODELS", "Cost", "CycleModel", "LayerCost", "estimate"]


def estimate(
    workload: Workload,
    accelerator: Accelerator,
    *,
    batch: int = 1,
    cycles: str | CycleModel = "closed_form",
    fabric: str = "yosys",
    gpus: Sequence[str] = (),
    gpu_profile: str = gpu.DEFAULT,
    gpu_precision: str = "int8",
    cache_dir: str | Path | None = None,
) -> Cost:
    """Price a network on an accelerator, and on GPUs, for one image or a batch of them.

    A batch runs together, layer by layer (`batch.batched`): latency, cycles and DRAM bytes, on GPUs
    too, are those of the whole batch; "fpga.fps" counts images, and "fpga.energy_mj" and all of
    "model." are of one image. A design larger than its board is priced all the same; its
    percentages exceed 100.

    Args:
        workload: The network for one image.
        accelerator: The FPGA design.
        batch: Images that run together.
        cycles: "closed_form" takes the arrays' cycles from the closed forms, "scalesim" from
            SCALE-Sim 3.0.0, whose sum is then also reported as "scalesim.cycles"; or a CycleModel,
            which has options for both.
        fabric: What prices multipliers in LUTs: "yosys", as synthesised, or "finn", FINN-R's
            formula, made for Vivado.
        gpus: Names of the GPUs to price (files in `gpus/`).
        gpu_profile: Runtime on the GPUs: a file in `gpu/profiles/`, or the path of one.
        gpu_precision: Kernels on the GPUs, "int8", "int4" (packed weights) or "fp16".
        cache_dir: Folder for SCALE-Sim's results, kept from run to run; None keeps none but those
            of a CycleModel's own.

    Returns:
        The cost: metrics by dotted name, cost of each operation, provenance of each figure.

    Raises:
        CostModelError: Something in the input cannot be priced; the message names it.
    """
    model = cycle_model(cycles, cache_dir)
    check_accelerator(accelerator)
    images = checked_batch(workload, batch)
    priced, arrays = price_grid(images, Grid.of(accelerator), model, fabric, batch=batch)
    metrics = {
        name: float(values[0] if isinstance(values, np.ndarray) else values)
        for name, values in arrays.items()
    }
    metrics |= model_metrics(workload)
    metrics |= gpu_metrics(workload, gpus, gpu_profile, gpu_precision, batch)
    backing = {"gpu": gpu.load_profile(gpu_profile).backing} if gpus else {}
    timing = priced.timing
    return Cost(
        metrics,
        timing.layers(),
        provenance(model.backing, fabric) | backing,
        batch,
        timing.chains(),
    )


def checked_batch(workload: Workload, batch: int) -> Workload:
    """Return the checked workload of a batch.

    Raises:
        CostModelError: The workload or the batch cannot be priced; the message names what is wrong.
    """
    check_workload(workload)
    images = batched(workload, batch)
    if images is not workload:
        check_workload(images)
    return images


def cycle_model(cycles: str | CycleModel, cache_dir: str | Path | None = None) -> CycleModel:
    """Return the checked cycle model of that name.

    Raises:
        CostModelError: The name is unknown, or its options do not go together.
    """
    model = cycles if isinstance(cycles, CycleModel) else CycleModel(cycles)
    if cache_dir is not None:
        model = replace(model, cache_dir=Path(cache_dir))
    model.check()
    return model


def price_grid(
    workload: Workload,
    grid: Grid,
    model: CycleModel,
    fabric: str,
    planned: Plan | None = None,
    batch: int = 1,
) -> tuple[fpga.FpgaCost, dict[str, Any]]:
    """Return cost and metrics of checked accelerators of one kind.

    Metrics are arrays of shape (accelerators,), or numbers where they are the same for all.

    Args:
        workload: The checked network, of all images of the batch.
        grid: The accelerators.
        model: What gives the cycles of arrays.
        fabric: What prices multipliers in LUTs.
        planned: The layers on the grid's engines where that is known already.
        batch: Images of the workload.
    """
    board = load_board(grid.kind.board)
    array_cycles = model.array_cycles(grid.kind, workload.name)
    # full runs are for layers: of their bands, whose cuts are many, the compute model says enough
    by_band = replace(model, reports_dir=None).array_cycles(grid.kind, workload.name)
    priced = fpga.price(workload, grid, board, array_cycles, fabric, planned, by_band)
    metrics = fpga.metrics(priced, grid, board, batch)
    if model.name == "scalesim":
        metrics |= _scalesim_metrics(priced, grid)
    return priced, metrics


def gpu_metrics(
    workload: Workload, gpus: Sequence[str], profile_name: str, precision: str, batch: int = 1
) -> dict[str, float]:
    """Return the latency of a batch on each GPU by the metric's name; as in `estimate`."""
    if not gpus:
        return {}
    if isinstance(gpus, str):
        raise CostModelError(f"gpus must be a list of names, not '{gpus}': write ('{gpus}',)")
    profile = gpu.load_profile(profile_name)
    launched = _kernels(workload, precision, profile.fusion)
    return {
        f"gpu.{name}.latency_ms": float(
            gpu.kernel_ms(gpu.kernel_work(launched, load_gpu(name), batch), profile).sum()
        )
        for name in gpus
    }


def _scalesim_metrics(priced: fpga.FpgaCost, grid: Grid) -> dict[str, Any]:
    """Return the arrays' cycles as SCALE-Sim counts them, without DRAM, vector or depthwise."""
    others = ("depthwise", "vector")
    timing = priced.timing
    on_arrays = [i for i, engine in enumerate(timing.engines) if engine not in others]
    total = timing.compute_cycles[:, on_arrays].sum(axis=1).astype(np.float64)
    milliseconds = total / (grid.clock_mhz * 1e3)
    return {"scalesim.cycles": total, "scalesim.latency_ms": milliseconds}


def model_metrics(workload: Workload) -> dict[str, float]:
    """Return size and mean widths; weights are weighted by count, activations by elements read."""
    macs = [layer.macs for layer in workload.layers]
    bit_pairs = [layer.weight_bits * layer.activation_bits for layer in workload.layers]
    with_weights = [layer for layer in workload.layers if layer.kind != "matmul"]
    weights = sum([layer.weight_elements for layer in with_weights])
    weight_bits = sum([layer.weight_elements * layer.weight_bits for layer in with_weights])
    inputs = sum([layer.input_elements for layer in workload.layers])
    input_bits = sum([layer.input_elements * layer.activation_bits for layer in workload.layers])
    return {
        "model.size_kb": workload.parameter_bits / 8192,
        "model.weights": float(weights),
        "model.mean_weight_bits": weight_bits / weights if weights else 0.0,
        "model.mean_activation_bits": input_bits / inputs if inputs else 0.0,
        "model.macs": float(sum(macs)),
        "model.bit_operations": float(sum(map(mul, macs, bit_pairs))),
    }


# A search prices thousands of designs, and equal workloads recur.
_kernels = lru_cache(maxsize=128)(gpu.kernels)
