"""From timed kernels and models to a profile of the device: split, fit, judge what was held out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from costmodels.board import Gpu
from costmodels.errors import CostModelError
from costmodels.gpu.fitting import (
    Measurement,
    fit_profile,
    mean_error,
    predictions,
    rank_correlation,
)
from costmodels.gpu.kernel import Kernel
from costmodels.gpu.profile import Fusion, Profile
from costmodels.gpu.rates import Rates
from costmodels.gpu.roofline import kernel_work

HELD_SHARE = 0.3
FEWEST = 4
"""Kernels of a kind that are enough for rates of its own."""

L2_MB = 1.0
"""Last cache assumed of a device that no file describes, in 1e6 bytes."""

# Rates, and what a kernel must have for them to matter.
_DEPENDS = {
    "float_efficiency": "floating",
    "integer_efficiency": "integer",
    "instructions_per_element": "elements",
    "instructions_per_row": "rows",
    "step_ns": "depth",
}
_NOTHING = 1e-6  # a search in logarithms does not reach zero
_STEP_US = 0.05
_MOST_STEPS = 400


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

    Each kind of kernel gets the rates that fit its kernels best. What these take longer in a model
    than alone, one after another, is then fitted to the models, one figure for all kinds.

    Raises:
        CostModelError: A latency is not positive and finite, or nothing is left to fit.
    """
    seen = [one for one in timed if not one.held_out]
    kernels = [one for one in seen if one.kind == "kernel"]
    base = Profile(gpu.name, Rates(0, 1, 1, 1, 0), fusion)
    plain = [one for one in kernels if not _products(one)]
    common = _fitted(base, _measured(plain or kernels, gpu)).rates
    by_kind = _by_kind(kernels)
    kinds = {
        kind: _fitted(base, _measured(of_kind, gpu)).rates
        for kind, of_kind in sorted(by_kind.items())
        if len(of_kind) >= FEWEST
    }
    profile = Profile(gpu.name, common, fusion, kinds)
    models = [one for one in seen if one.kind == "model"]
    fitted = _in_models(profile, _measured(models, gpu)) if models else profile
    return fitted, judge(timed, gpu, fitted)


def _by_kind(kernels: Sequence[Timed]) -> dict[str, list[Timed]]:
    found: dict[str, list[Timed]] = {}
    for one in kernels:
        found.setdefault(one.kernels[0].kind, []).append(one)
    return found


def _products(one: Timed) -> bool:
    return any(kernel.gemms or kernel.scalar_macs for kernel in one.kernels)


def _fitted(base: Profile, measured: Sequence[Measurement]) -> Profile:
    """Return the common rates that fit, of those that the kernels depend on."""
    present = {
        name: any(np.any(getattr(work, part) > 0) for work, _ in measured)
        for name, part in _DEPENDS.items()
    }
    free = ["start_us", "memory_efficiency", "cache_speed_up"]
    free += [name for name, found in present.items() if found]
    fitted = fit_profile(base, measured, free=free)
    nothing = {name: 0.0 for name in free if getattr(fitted.rates, name) < _NOTHING}
    rates = replace(fitted.rates, **nothing)
    if present["float_efficiency"] and not present["integer_efficiency"]:
        rates = replace(rates, integer_efficiency=rates.float_efficiency)
    return replace(fitted, rates=rates)


def _in_models(profile: Profile, measured: Sequence[Measurement]) -> Profile:
    """Return the profile with the gap between kernels that fits the models best."""
    gaps = _STEP_US * np.arange(_MOST_STEPS)
    alone, latencies = predictions(profile, measured), [latency for _, latency in measured]
    counts = np.array([len(work.kinds) for work, _ in measured])
    modelled = alone + 1e-3 * gaps[:, None] * counts
    best = np.argmin(np.mean(np.abs(modelled / latencies - 1), axis=1))
    return replace(profile, gap_us=round(float(gaps[best]), 3))


def judge(timed: Sequence[Timed], gpu: Gpu, profile: Profile) -> dict[str, dict[str, float]]:
    """Return points, mean error and rank correlation of each kind, fitted and held out."""
    errors = {}
    for kind in ("kernel", "model"):
        for held, word in ((False, "fitted"), (True, "held_out")):
            part = [one for one in timed if one.kind == kind and one.held_out == held]
            if part:
                errors[f"{word}_{kind}s"] = _errors(part, gpu, profile_for(kind, profile))
    return errors


def profile_for(kind: str, profile: Profile) -> Profile:
    """Return the profile for measurements of a kind; kernels alone have no gap."""
    return replace(profile, gap_us=0.0) if kind == "kernel" else profile


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
        l2_mb=L2_MB,
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
        "mean_error": round(mean_error(profile, measured), 4),
    }
    if len(part) > 2:
        latencies = np.array([latency for _, latency in measured])
        correlation = rank_correlation(predictions(profile, measured), latencies)
        found["rank_correlation"] = round(correlation, 4)
    return found


def _measured(part: Sequence[Timed], gpu: Gpu) -> list[Measurement]:
    return [(kernel_work(one.kernels, gpu, one.batch), one.measured_ms) for one in part]


def predicted_ms(one: Timed, gpu: Gpu, profile: Profile) -> float:
    """Return the modelled latency of a measurement in milliseconds."""
    return float(predictions(profile_for(one.kind, profile), _measured([one], gpu))[0])
