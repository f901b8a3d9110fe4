"""From timed kernels and models to a profile of the device: split, fit, judge what was held out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from costmodels.board import Gpu
from costmodels.errors import CostModelError
from costmodels.gpu.fitting import fit_profile, mean_error, predictions, rank_correlation
from costmodels.gpu.kernel import Kernel
from costmodels.gpu.profile import Fusion, Profile
from costmodels.gpu.roofline import kernel_work

HELD_SHARE = 0.3

# PyTorch's eager operators: fused attention where the model asks for it, nothing else.
EAGER = Fusion(
    float_epilogue=frozenset(),
    integer_epilogue=frozenset(),
    softmax=frozenset({"softmax"}),
    add_norm=False,
    pointwise=False,
    float_residual=True,
)


@dataclass(frozen=True)
class Timed:
    """One measurement.

    Attributes:
        kind: "kernel" or "model".
        name: The kernel's or the model's name.
        precision: "fp32", "fp16" or "int8".
        batch: Images (1 for a kernel).
        kernels: What it launches.
        measured_ms: Median latency in milliseconds.
        held_out: Whether the fit must not see it.
    """

    kind: str
    name: str
    precision: str
    batch: int
    kernels: tuple[Kernel, ...]
    measured_ms: float
    held_out: bool


def hold_out(count: int, seed: int) -> list[bool]:
    """Return which of `count` kernels are held out of the fit, three in ten, by seed."""
    held = np.zeros(count, dtype=bool)
    chosen = np.random.default_rng(seed).permutation(count)[: max(1, round(HELD_SHARE * count))]
    held[chosen] = True
    return [bool(value) for value in held]


def fit_device(
    timed: Sequence[Timed], gpu: Gpu, fusion: Fusion
) -> tuple[Profile, dict[str, dict[str, float]]]:
    """Return the profile that fits what was not held out, and its errors.

    Models count as much as kernels, however many there are of each.

    Raises:
        CostModelError: A latency is not positive and finite, or nothing is left to fit.
    """
    seen = [one for one in timed if not one.held_out]
    models = [one for one in seen if one.kind == "model"]
    kernels = [one for one in seen if one.kind == "kernel"]
    times = max(1, round(len(kernels) / len(models))) if models else 0
    base = Profile(gpu.name, 1, 1, 1, 1, 1, fusion)
    fitted = fit_profile(base, _measured([*kernels, *models * times], gpu))
    return fitted, judge(timed, gpu, fitted)


def judge(timed: Sequence[Timed], gpu: Gpu, profile: Profile) -> dict[str, dict[str, float]]:
    """Return points, mean error and rank correlation of each kind, fitted and held out."""
    errors = {}
    for kind in ("kernel", "model"):
        for held, word in ((False, "fitted"), (True, "held_out")):
            part = [one for one in timed if one.kind == kind and one.held_out == held]
            if part:
                errors[f"{word}_{kind}s"] = _errors(part, gpu, profile)
    return errors


def measured_gpu(name: str, timed: Sequence[Timed], multiprocessors: int) -> Gpu:
    """Return a device whose peaks are the best rates measured on it, its clock a nominal 1 GHz.

    Raises:
        CostModelError: No product or no element-wise kernel was measured.
    """
    floating, integer, bandwidth = 0.0, 0.0, 0.0
    for one in timed:
        for kernel in one.kernels if one.kind == "kernel" else ():
            rate = 2e-9 * sum(gemm.macs for gemm in kernel.gemms) / one.measured_ms
            integer = max(integer, rate if one.precision == "int8" else 0.0)
            floating = max(floating, rate if one.precision != "int8" else 0.0)
            moved = kernel.weight_bytes + kernel.activation_bytes
            bandwidth = max(bandwidth, 1e-6 * moved / one.measured_ms)
    if floating <= 0 or bandwidth <= 0:
        raise CostModelError("no product was measured: raise most_mmacs")
    source = "best rate measured"
    sources = dict.fromkeys(("fp16_tflops", "int8_tops", "bandwidth_gb_s"), source)
    return Gpu(
        name=name,
        fp16_tflops=floating,
        int8_tops=integer or floating,
        fp32_tflops=floating,
        bandwidth_gb_s=bandwidth,
        multiprocessors=multiprocessors,
        clock_mhz=1000.0,
        int4_tops=0.0,
        sources=sources,
    )


def backing(errors: dict[str, dict[str, float]], device: dict[str, Any]) -> str:
    """Return one line that says how good the fit is, and where."""
    parts = [
        f"mean error {100 * found['mean_error']:.1f} % on {found['points']} "
        f"{part.replace('_', ' ')}"
        for part, found in errors.items()
    ]
    where = f"{device['name']}, {device['date']}, PyTorch {device['torch']}"
    return f"roofline fitted to measurements ({where}): {', '.join(parts)}"


def _errors(part: Sequence[Timed], gpu: Gpu, profile: Profile) -> dict[str, float]:
    measured = _measured(part, gpu)
    found: dict[str, float] = {
        "points": len(part),
        "mean_error": mean_error(profile, measured),
    }
    if len(part) > 2:
        latencies = np.array([latency for _, latency in measured])
        found["rank_correlation"] = rank_correlation(predictions(profile, measured), latencies)
    return found


def _measured(part: Sequence[Timed], gpu: Gpu) -> list[Any]:
    return [(kernel_work(one.kernels, gpu, one.batch), one.measured_ms) for one in part]


def predicted_ms(one: Timed, gpu: Gpu, profile: Profile) -> float:
    """Return the modelled latency of a measurement in milliseconds."""
    return float(predictions(profile, _measured([one], gpu))[0])
