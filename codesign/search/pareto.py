"""The Pareto front, its hypervolume and its knee. Objectives are minimised throughout."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Points = NDArray[np.float64]


def minimised(values: Sequence[float], directions: Sequence[str]) -> tuple[float, ...]:
    """Return objective values with those to maximise negated."""
    return tuple(-v if d == "max" else v for v, d in zip(values, directions, strict=True))


def front_mask(points: ArrayLike) -> NDArray[np.bool_]:
    """Return which points are on the Pareto front (dominated by no other point).

    Args:
        points: Objectives to minimise, (N, D).

    Returns:
        A mask (N); equal points are on the front together.
    """
    values = _points(points)
    no_worse = (values[:, None] <= values[None]).all(axis=2)
    better = (values[:, None] < values[None]).any(axis=2)
    return np.asarray(~(no_worse & better).any(axis=0))


def hypervolume(points: ArrayLike, reference: ArrayLike) -> float:
    """Return the exact volume that the points dominate within the reference point.

    Slices along the last objective: between two consecutive values of it, the dominated volume
    is the hypervolume of the points so far in one dimension less (Fonseca, Paquete and
    Lopez-Ibanez, "An improved dimension-sweep algorithm for the hypervolume indicator", 2006, the
    plain recursion). Points that do not dominate the reference point add nothing.

    Args:
        points: Objectives to minimise, (N, D), D >= 1.
        reference: The reference point, (D).
    """
    corner = np.asarray(reference, dtype=np.float64)
    values = _points(points, len(corner))
    values = values[(values < corner).all(axis=1)]
    return _volume(values[front_mask(values)] if len(values) else values, corner)


def _volume(values: Points, corner: Points) -> float:
    """Return the hypervolume of points that all dominate `corner`."""
    if len(values) == 0:
        return 0.0
    if len(corner) == 1:
        return float(corner[0] - values.min())
    ordered = values[np.argsort(values[:, -1], kind="stable")]
    if len(corner) == 2:
        lowest = np.minimum.accumulate(ordered[:, 0])
        heights = np.append(ordered[1:, 1], corner[1]) - ordered[:, 1]
        return float(((corner[0] - lowest) * heights).sum())
    heights = np.append(ordered[1:, -1], corner[-1]) - ordered[:, -1]
    slices = (
        _volume(ordered[: i + 1, :-1], corner[:-1]) * height
        for i, height in enumerate(heights)
        if height > 0
    )
    return float(sum(slices))


def relative_hypervolume(points: ArrayLike, reference: ArrayLike) -> float:
    """Return the hypervolume with every objective in units of its reference value.

    A cost thus counts as a fraction of its reference; an objective whose reference is 0 (an
    accuracy, whose worst value that is) keeps its own unit. With one accuracy and costs the result
    is between 0 (nothing) and 1 (accuracy 1 at no cost).
    """
    corner = np.asarray(reference, dtype=np.float64)
    scale = np.where(corner == 0, 1.0, np.abs(corner))
    return hypervolume(_points(points, len(corner)) / scale, corner / scale)


def knee(points: ArrayLike) -> int:
    """Return the index of the knee of a front: the point nearest to the ideal one.

    Every objective is scaled to [0, 1] between its best and its worst value on the front; the
    distance is Euclidean (the compromise solution of Zeleny, "Multiple Criteria Decision Making",
    1982). Of equally near points the first is taken.

    Args:
        points: The front, objectives to minimise, (N, D), N >= 1.
    """
    values = _points(points)
    low, high = values.min(axis=0), values.max(axis=0)
    scaled = (values - low) / np.where(high > low, high - low, 1.0)
    return int(np.argmin((scaled**2).sum(axis=1)))


def _points(points: ArrayLike, dimensions: int = -1) -> Points:
    values = np.asarray(points, dtype=np.float64)
    return values.reshape(-1, dimensions) if dimensions > 0 else np.atleast_2d(values)
