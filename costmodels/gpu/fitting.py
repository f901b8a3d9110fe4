"""Fitting rates to measured latencies: least mean absolute relative error."""

from collections.abc import Sequence
from dataclasses import fields, replace

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
_MOST |= {"cache_speed_up": 8.0}
# Three sets of values that the search starts from.
_STARTS = {
    "kernel_us": (8.0, 3.0, 20.0),
    "float_efficiency": (0.5, 0.9, 0.3),
    "integer_efficiency": (0.5, 0.9, 0.3),
    "memory_efficiency": (0.6, 0.8, 0.4),
    "instructions_per_element": (20.0, 5.0, 50.0),
    "start_us": (2.0, 1.0, 5.0),
    "cache_speed_up": (1.3, 2.0, 1.0),
    "instructions_per_row": (1e3, 1e5, 10.0),
    "step_ns": (0.1, 10.0, 1.0),
}
_DIGITS = 3


def fit_profile(
    base: Profile,
    measured: Sequence[Measurement],
    *,
    free: Sequence[str] = FREE,
    tied: bool = False,
) -> Profile:
    """Return `base` with the common rates of least mean absolute relative error.

    A compass search in the logarithms from three starts; shares of a peak stay at most 1. The
    same measurements give the same rates.

    Args:
        base: Name, fusion rules and backing of the result, and the rates that are not fitted.
        measured: Work of the kernels of each run, with its latency in milliseconds.
        free: Names of the rates to fit.
        tied: Whether integer and floating-point kernels share one efficiency.

    Raises:
        CostModelError: There is nothing to fit to, or a latency is not positive and finite.
    """
    if not measured:
        raise CostModelError("nothing to fit a GPU profile to: no measurement")
    latencies = np.array([latency for _, latency in measured])
    if not np.all(np.isfinite(latencies)) or np.any(latencies <= 0):
        raise CostModelError("measured latencies must be positive and finite: measure again")
    search = _Search(base, measured, latencies, tied)
    starts = ({name: _STARTS[name][i] for name in free} for i in range(3))
    best, _ = min((search.run(start) for start in starts), key=lambda pair: pair[1])
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


class _Search:
    def __init__(
        self,
        base: Profile,
        measured: Sequence[Measurement],
        latencies: NDArray[np.float64],
        tied: bool,
    ) -> None:
        self.base, self.latencies, self.tied = base, latencies, tied
        works = [work for work, _ in measured]
        self.work = _joined(works)
        sizes = np.array([len(work.memory) for work in works])
        self.starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])

    def run(self, values: dict[str, float]) -> tuple[Profile, float]:
        """Return the best profile found from these values, and its error."""
        best = self.judged(values)
        factor = 2.0
        while factor > 1.001:
            moves = [
                self.moved(values, name, step) for name in values for step in (factor, 1 / factor)
            ]
            tried = [(self.judged(move), move) for move in moves]
            candidate, move = min(tried, key=lambda pair: pair[0][1])
            if candidate[1] < best[1]:
                best, values = candidate, move
            else:
                factor = factor**0.5
        return best

    def judged(self, values: dict[str, float]) -> tuple[Profile, float]:
        profile = replace(self.base, rates=replace(self.base.rates, **values))
        modelled = np.add.reduceat(kernel_ms(self.work, profile), self.starts)
        return profile, float(np.mean(np.abs(modelled / self.latencies - 1)))

    def moved(self, values: dict[str, float], name: str, step: float) -> dict[str, float]:
        pair = ("float_efficiency", "integer_efficiency")
        names = pair if self.tied and name in pair else (name,)
        moved = {n: min(values[n] * step, _MOST.get(n, np.inf)) for n in names}
        return values | {n: float(f"{value:.{_DIGITS}g}") for n, value in moved.items()}


def _joined(works: Sequence[Work]) -> Work:
    """Return the kernels of all works as one."""
    columns = {
        item.name: np.concatenate([getattr(work, item.name) for work in works])
        for item in fields(Work)
        if item.name != "kinds"
    }
    return Work(**columns, kinds=tuple(kind for work in works for kind in work.kinds))
