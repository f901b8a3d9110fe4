"""The front, the hypervolume and the knee against brute force and Optuna's own."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna._hypervolume import compute_hypervolume

from codesign.search.pareto import front_mask, hypervolume, knee, minimised, relative_hypervolume


@st.composite
def clouds(draw, least=1, most=5):
    d = draw(st.integers(least, most))
    point = st.lists(st.integers(0, 6), min_size=d, max_size=d)
    return np.array(draw(st.lists(point, min_size=1, max_size=9)), dtype=float)


def dominated_cells(points, side):
    """Count unit cells of the grid [0, side)^D whose lower corner some point dominates."""
    axes = np.meshgrid(*[np.arange(side)] * points.shape[1], indexing="ij")
    cells = np.stack([a.ravel() for a in axes], axis=1)
    return int((cells[:, None] >= points[None]).all(axis=2).any(axis=1).sum())


@given(clouds())
def test_front_is_what_nobody_dominates(points):
    for i, chosen in enumerate(front_mask(points)):
        dominated = any(
            all(q <= p for q, p in zip(other, points[i], strict=True)) and any(other < points[i])
            for other in points
        )
        assert chosen == (not dominated)


@given(clouds(1, 4))
def test_hypervolume_counts_the_cells(points):
    assert hypervolume(points, [5.0] * points.shape[1]) == dominated_cells(points, 5)


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(2, 5), st.integers(1, 25))
def test_hypervolume_equals_optunas(seed, dimensions, count):
    points = np.random.default_rng(seed).random((count, dimensions))
    reference = np.full(dimensions, 0.9)
    inside = points[(points < reference).all(axis=1)]
    expected = compute_hypervolume(inside, reference) if len(inside) else 0.0
    assert hypervolume(points, reference) == pytest.approx(expected, rel=1e-12)


@given(clouds(2, 4), st.integers(0, 100))
def test_a_point_more_never_takes_volume(points, seed):
    more = np.vstack([points, np.random.default_rng(seed).integers(0, 6, points.shape[1])])
    reference = [6.0] * points.shape[1]
    assert hypervolume(more, reference) >= hypervolume(points, reference)


def test_relative_hypervolume_is_a_fraction_of_the_ideal():
    reference = minimised((0.0, 20.0, 500.0), ("max", "min", "min"))
    ideal = minimised((1.0, 0.0, 0.0), ("max", "min", "min"))
    half = minimised((0.5, 10.0, 250.0), ("max", "min", "min"))
    assert relative_hypervolume([ideal], reference) == pytest.approx(1.0)
    assert relative_hypervolume([half], reference) == pytest.approx(0.125)
    assert relative_hypervolume([reference], reference) == 0.0
    assert relative_hypervolume(np.empty((0, 3)), reference) == 0.0


def test_knee_is_the_elbow():
    elbow = [(0.0, 10.0), (1.0, 1.0), (10.0, 0.0)]
    assert knee(elbow) == 1
    assert knee([(x * 1000, y) for x, y in elbow]) == 1
    assert knee([(3.0, 4.0)]) == 0
    assert knee([(1.0, 1.0), (1.0, 1.0)]) == 0
