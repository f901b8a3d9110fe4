"""GPU latency: a roofline for each kernel that a runtime launches.

    t = sum over kernels of max(t0, t1 + operations / (eta_c P u) + bytes / (eta_m BW c)
                                    + (i E + j R) / I + s D) + gap

P and BW are the device's peaks, u is the share of the tensor cores' tiles that the shape fills,
waves over the multiprocessors included (`kernel.tile_utilisation`), c is 1, or more where
everything a kernel touches fits the last cache. Tiles are stored after they are computed, and on
published and measured latencies operations and bytes add up better than the larger of them does.
E counts the elements that threads convert, normalise or rescale, R rows, and I is the rate at which
the multiprocessors issue instructions: it is why INT8 gains little where scaling and GELU surround
small products. D is the depth of the reduction. The other figures are a `Profile`'s: one set of
`Rates`, or one for each kind of kernel.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels.board import Gpu
from costmodels.checks import check_whole
from costmodels.gpu.kernel import Gemm, Kernel, tile_utilisation
from costmodels.gpu.launch import kernels
from costmodels.gpu.profile import Profile, load_profile
from costmodels.gpu.rates import NAMES, Rates
from costmodels.workload import Workload

LANES = 128
"""Threads for which a multiprocessor issues an instruction in a cycle (4 schedulers of 32)."""


@dataclass(frozen=True)
class Work:
    """Milliseconds of each kernel at the device's peaks, arrays of one value a kernel.

    Attributes:
        floating: Floating-point operations, tiles and waves included.
        integer: Integer operations on tensor cores.
        memory: Bytes at the full bandwidth.
        cached: Whether all these bytes fit the last cache.
        elements: One instruction for each element handled.
        rows: One instruction for each row handled.
        depth: Steps of the reduction (no time).
        kinds: Kind of each kernel.
    """

    floating: NDArray[np.float64]
    integer: NDArray[np.float64]
    memory: NDArray[np.float64]
    cached: NDArray[np.bool_]
    elements: NDArray[np.float64]
    rows: NDArray[np.float64]
    depth: NDArray[np.float64]
    kinds: tuple[str, ...]


def latency_ms(
    workload: Workload,
    gpu: Gpu,
    *,
    precision: str = "int8",
    batch: int = 1,
    profile: Profile | None = None,
) -> float:
    """Return the latency of a batch in milliseconds.

    Args:
        workload: The network for one image.
        gpu: The device.
        precision: "fp32", "fp16", "int8" or "int4" (see `kernel.PRECISIONS`).
        batch: Images.
        profile: The runtime; the FasterTransformer fit unless given.

    Raises:
        CostModelError: The precision is unknown, or the batch is not a positive whole number.
    """
    check_whole("GPU", "batch", batch)
    profile = profile or load_profile()
    launched = kernels(workload, precision, profile.fusion)
    return float(kernel_ms(kernel_work(launched, gpu, batch), profile).sum())


def kernel_ms(work: Work, profile: Profile) -> NDArray[np.float64]:
    """Return the milliseconds of each kernel of a network."""
    gap_ms = profile.gap_us / 1e3
    if not profile.kinds:
        return _milliseconds(work, profile.rates) + gap_ms
    found = [profile.rates_of(kind) for kind in work.kinds]
    columns = np.array([[getattr(rates, name) for name in NAMES] for rates in found])
    return _milliseconds(work, Rates(*columns.reshape(-1, len(NAMES)).T)) + gap_ms


def _milliseconds(work: Work, rates: Rates) -> NDArray[np.float64]:
    """Return the milliseconds of each kernel; the rates are numbers, or arrays of one a kernel."""
    compute = work.floating / rates.float_efficiency + work.integer / rates.integer_efficiency
    speed_up = np.where(work.cached, rates.cache_speed_up, 1.0)
    memory = work.memory / (rates.memory_efficiency * speed_up)
    issued = work.elements * rates.instructions_per_element + work.rows * rates.instructions_per_row
    fixed = rates.start_us / 1e3 + work.depth * rates.step_ns / 1e6
    return np.maximum(fixed + compute + memory + issued, rates.kernel_us / 1e3)


def kernel_work(launched: Iterable[Kernel], gpu: Gpu, batch: int) -> Work:
    """Return each kernel's milliseconds at the device's peaks."""
    launched = tuple(launched)
    rows = [_kernel_work(kernel, gpu, batch) for kernel in launched]
    floating, integer, memory, elements, groups = np.array(rows, np.float64).reshape(-1, 5).T
    cached = memory * gpu.bandwidth_gb_s <= gpu.l2_mb
    depth = np.array([kernel.depth for kernel in launched], dtype=np.float64)
    kinds = tuple(kernel.kind for kernel in launched)
    return Work(floating, integer, memory, cached, elements, groups, depth, kinds)


def _kernel_work(kernel: Kernel, gpu: Gpu, batch: int) -> tuple[float, ...]:
    floating = kernel.scalar_macs * 2 * batch / (gpu.fp32_tflops * 1e9)
    integer = 0.0
    for gemm in kernel.gemms:
        filled = tile_utilisation(gemm.rows, gemm.cols, gemm.repeats, batch, gpu.multiprocessors)
        taken = 2 * gemm.macs * batch / (_peak(gemm, gpu) * 1e9 * filled)
        if gemm.precision in ("fp32", "fp16"):
            floating += taken
        else:
            integer += taken
    moved = kernel.weight_bytes + batch * kernel.activation_bytes
    issued = gpu.multiprocessors * gpu.clock_mhz * LANES * 1e3  # instructions a millisecond
    counts = kernel.elements * batch / issued, kernel.rows * batch / issued
    return floating, integer, moved / (gpu.bandwidth_gb_s * 1e6), *counts


def _peak(gemm: Gemm, gpu: Gpu) -> float:
    """Return the peak in 1e12 operations per second; INT4 runs as INT8 where it has no cores."""
    if gemm.precision == "int4":
        return gpu.int4_tops or gpu.int8_tops
    peaks = {"fp32": gpu.fp32_tflops, "fp16": gpu.fp16_tflops, "int8": gpu.int8_tops}
    return peaks[gemm.precision]
