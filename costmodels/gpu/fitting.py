"""Fitting a profile's parameters to measured latencies: least mean absolute relative error."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from costmodels.errors import CostModelError
from costmodels.gpu.profile import Profile
from costmodels.gpu.roofline import Work, kernel_ms

Measurement = tuple[Work, float]
"""The work of a run's kernels, and its measured latency in milliseconds."""

FREE = (
    "kernel_us",
    "float_efficiency",
    "integer_efficiency",
    "memory_efficiency",
    "instructions_per_element",
)

_MOST = {"float_efficiency": 1.0, "integer_efficiency": 1.0, "memory_efficiency": 1.0}
_STARTS = (
    (8.0, 0.5, 0.5, 0.6, 20.0),
    (3.0, 0.9, 0.9, 0.8, 5.0),
    (20.0, 0.3, 0.3, 0.4, 50.0),
)
_DIGITS = 3


def fit_profile(
    base: Profile,
    measured: Sequence[Measurement],
    *,
    tied: bool = False,
) -> Profile:
    """Return `base` with the parameters of least mean absolute relative error.

    A compass search in the logarithms from three starts; shares of a peak stay at most 1. The
    same measurements give the same parameters.

    Args:
        base: Name, fusion rules and backing of the result.
        measured: Work of the kernels of each run, with its latency in milliseconds.
        tied: Whether integer and floating-point kernels share one efficiency.

    Raises:
        CostModelError: There is nothing to fit to, or a latency is not positive and finite.
    """
    if not measured:
        raise CostModelError("nothing to fit a GPU profile to: no measurement")
    latencies = np.array([latency for _, latency in measured])
    if not np.all(np.isfinite(latencies)) or np.any(latencies <= 0):
        raise CostModelError("measured latencies must be positive and finite: measure again")
    work, ends = _joined([work for work, _ in measured])
    found = [_search(base, work, ends, latencies, start, tied) for start in _STARTS]
    best, _ = min(found, key=lambda pair: pair[1])
    return best


def predictions(profile: Profile, measured: Sequence[Measurement]) -> NDArray[np.float64]:
    """Return the modelled latencies in milliseconds."""
    return np.array([kernel_ms(work, profile).sum() for work, _ in measured])


def mean_error(profile: Profile, measured: Sequence[Measurement]) -> float:
    """Return the mean absolute error relative to the measured latencies, a fraction."""
    latencies = np.array([latency for _, latency in measured])
    return float(np.mean(np.abs(predictions(profile, measured) / latencies - 1)))


def rank_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return Spearman's rank correlation; equal values share their mean rank."""
    return float(np.corrcoef(_ranks(first), _ranks(second))[0, 1])


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    below = (values[:, None] > values[None, :]).sum(axis=1)
    equal = (values[:, None] == values[None, :]).sum(axis=1)
    return below + (equal - 1) / 2.0


def _joined(works: Sequence[Work]) -> tuple[Work, NDArray[np.int64]]:
    parts = ("floating", "integer", "memory", "issue")
    joined = Work(*(np.concatenate([getattr(work, part) for work in works]) for part in parts))
    sizes = np.array([len(work.memory) for work in works])
    return joined, np.concatenate([[0], np.cumsum(sizes)[:-1]])


def _search(
    base: Profile,
    work: Work,
    ends: NDArray[np.int64],
    latencies: NDArray[np.float64],
    start: tuple[float, ...],
    tied: bool,
) -> tuple[Profile, float]:
    def judged(values: dict[str, float]) -> tuple[Profile, float]:
        profile = replace(base, **values)  # type: ignore[arg-type]
        modelled = np.add.reduceat(kernel_ms(work, profile), ends)
        return profile, float(np.mean(np.abs(modelled / latencies - 1)))

    values = dict(zip(FREE, start, strict=True))
    best = judged(values)
    factor = 2.0
    while factor > 1.001:
        moves = [_moved(values, name, step, tied) for name in FREE for step in (factor, 1 / factor)]
        tried = [(judged(move), move) for move in moves]
        candidate, move = min(tried, key=lambda pair: pair[0][1])
        if candidate[1] < best[1]:
            best, values = candidate, move
        else:
            factor = factor**0.5
    return best


def _moved(values: dict[str, float], name: str, step: float, tied: bool) -> dict[str, float]:
    pair = ("float_efficiency", "integer_efficiency")
    names = pair if tied and name in pair else (name,)
    moved = {n: min(values[n] * step, _MOST.get(n, np.inf)) for n in names}
    return values | {n: float(f"{value:.{_DIGITS}g}") for n, value in moved.items()}
