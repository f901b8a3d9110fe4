"""GPU latency: a roofline for each kernel that a runtime launches.

    t = sum over kernels of max(t0, max(operations / (eta_c P u), bytes / (eta_m BW)) + i E / I)

P and BW are the device's peaks, u is the share of the tensor cores' 128 x 128 tiles that the shape
fills, waves over the multiprocessors included. E counts the elements that threads convert,
normalise or rescale, and I is the rate at which the multiprocessors issue instructions: it is why
INT8 gains little where scaling and GELU surround small products. The launch floor t0, the shares
eta_c (of the floating-point and the integer peak) and eta_m, and the instructions an element takes,
i, are a `Profile`.
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
        issue: One instruction for each element handled.
    """

    floating: NDArray[np.float64]
    integer: NDArray[np.float64]
    memory: NDArray[np.float64]
    issue: NDArray[np.float64]


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
    """Return the milliseconds of each kernel."""
    compute = work.floating / profile.float_efficiency + work.integer / profile.integer_efficiency
    busy = np.maximum(compute, work.memory / profile.memory_efficiency)
    busy = busy + work.issue * profile.instructions_per_element
    return np.maximum(busy, profile.kernel_us / 1e3)


def kernel_work(launched: Iterable[Kernel], gpu: Gpu, batch: int) -> Work:
    """Return each kernel's milliseconds at the device's peaks."""
    rows = [_kernel_work(kernel, gpu, batch) for kernel in launched]
    table = np.array(rows, dtype=np.float64).reshape(-1, 4)
    return Work(*table.T)


def _kernel_work(kernel: Kernel, gpu: Gpu, batch: int) -> tuple[float, float, float, float]:
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
    return floating, integer, moved / (gpu.bandwidth_gb_s * 1e6), kernel.elements * batch / issued


def _peak(gemm: Gemm, gpu: Gpu) -> float:
    """Return the peak in 1e12 operations per second; INT4 runs as INT8 where it has no cores."""
    if gemm.precision == "int4":
        return gpu.int4_tops or gpu.int8_tops
    peaks = {"fp32": gpu.fp32_tflops, "fp16": gpu.fp16_tflops, "int8": gpu.int8_tops}
    return peaks[gemm.precision]
