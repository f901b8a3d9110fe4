"""The closed forms against SCALE-Sim itself, run live."""

import random

import numpy as np
import pytest
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


def test_drain_adds_the_rows_to_every_fold() -> None:
    # 2 x 3 folds of the textbook 2 R + C + K - 2
    assert cycles(16, 10, 12, 8, 4, "os", drain=True) == 6 * (2 * 8 + 4 + 10 - 2)


@pytest.mark.parametrize("dataflow", ["ws", "is"])
def test_overlap_leaves_one_load(dataflow: str) -> None:
    one_fold = {"m": 4, "k": 8, "n": 4, "rows": 8, "cols": 4, "dataflow": dataflow}
    assert cycles(**one_fold, overlap=True) == cycles(**one_fold)
    three_folds = one_fold | {"k": 24}
    assert cycles(**three_folds) - cycles(**three_folds, overlap=True) == 2 * 8


def test_large_products_do_not_overflow() -> None:
    m = k = n = 1 << 20
    folds = (1 << 20) // 8
    assert int(cycles(m, k, n, 8, 8, "os")) == folds * folds * (k + 14)


def test_unknown_dataflow_is_named() -> None:
    with pytest.raises(CostModelError, match=r"unknown dataflow 'rs'\. Known: os, ws, is"):
        cycles(1, 1, 1, 1, 1, "rs")
