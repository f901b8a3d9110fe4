"""The closed forms against SCALE-Sim itself, run live."""

import random

import numpy as np
import pytest
from clocked_array import clocked_product
from sample_workloads import conv

from costmodels.errors import CostModelError
from costmodels.scalesim import Task, layer_task, simulate
from costmodels.systolic import DATAFLOWS, cycles, reported_cycles


def random_products(count: int) -> list[tuple[int, ...]]:
    generator = random.Random(2024)
    sizes = [tuple(generator.randint(1, 60) for _ in range(3)) for _ in range(count)]
    return [(*size, generator.randint(1, 20), generator.randint(1, 20)) for size in sizes]


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_products_take_what_scalesim_reports(dataflow: str) -> None:
    for m, k, n, rows, cols in random_products(20):
        task = Task(m, 1, 1, 1, k, n, 1, 1, rows, cols, dataflow)
        assert reported_cycles(m, k, n, rows, cols, dataflow) == simulate(task, full=True), task


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize(
    ("size", "kernel", "stride"), [(12, 3, 1), (13, 3, 2), (14, 3, 2), (10, 5, 3), (8, 1, 1)]
)
def test_convolutions_take_what_scalesim_reports(
    dataflow: str, size: int, kernel: int, stride: int
) -> None:
    layer = conv(size=size, channels=5, filters=9, kernel=kernel, stride=stride)
    task = layer_task(layer, 6, 4, dataflow)
    expected = simulate(task, full=True)
    assert reported_cycles(layer.m, layer.k, layer.n, 6, 4, dataflow) == expected


def test_count_is_one_more_than_scalesims_index() -> None:
    assert cycles(1, 1, 1, 1, 1, "os") == 1  # one multiplication, one cycle


def test_sizes_broadcast() -> None:
    m, rows = np.array([16, 33]), np.array([[4], [8]])
    grid = cycles(m, 8, 8, rows, 4, "os")
    assert grid.shape == (2, 2)
    assert grid[1, 0] == cycles(16, 8, 8, 8, 4, "os")


@pytest.mark.parametrize("option", ["", "drain", "overlap"])
@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_cycles_are_those_of_an_array_clocked_register_by_register(dataflow, option) -> None:
    generator = np.random.default_rng(3)
    options = {option: True} if option else {}
    for _ in range(12):
        m, k, n = (int(size) for size in generator.integers(1, 14, 3))
        rows, cols = (int(side) for side in generator.integers(1, 7, 2))
        first, second = (generator.integers(-8, 8, shape) for shape in ((m, k), (k, n)))
        product, clocked = clocked_product(first, second, rows, cols, dataflow, **options)
        assert (product == first @ second).all()
        assert clocked == cycles(m, k, n, rows, cols, dataflow, **options)


def test_drain_adds_the_rows_to_every_fold() -> None:
    # 2 x 3 folds of the textbook 2 R + C + K - 2
    assert cycles(16, 10, 12, 8, 4, "os", drain=True) == 6 * (2 * 8 + 4 + 10 - 2)


def test_large_products_do_not_overflow() -> None:
    m = k = n = 1 << 20
    folds = (1 << 20) // 8
    assert int(cycles(m, k, n, 8, 8, "os")) == folds * folds * (k + 14)


def test_unknown_dataflow_is_named() -> None:
    with pytest.raises(CostModelError, match=r"unknown dataflow 'rs'\. Known: os, ws, is"):
        cycles(1, 1, 1, 1, 1, "rs")
