"""The closed forms against SCALE-Sim on a seeded grid of shapes, arrays and dataflows, live."""

import random

import numpy as np
import pytest
from sample_workloads import conv

from costmodels.scalesim import Task, layer_task, simulate
from costmodels.systolic import DATAFLOWS, reported_cycles

SIDES = (4, 5, 8, 12, 16, 27, 32, 48, 64, 96, 128, 200, 256)
FULL, BY_FOLDS, CONVOLUTIONS = 240, 300, 120
LIMIT = 300_000  # cycles x sides of the array, which is what a full run takes its time for


def arrays(generator: random.Random) -> tuple[int, int]:
    rows = generator.choice(SIDES)
    return rows, rows if generator.random() < 0.3 else generator.choice(SIDES)


def products(seed: int, count: int, largest: int, full: bool) -> list[Task]:
    generator = random.Random(seed)
    tasks: list[Task] = []
    while len(tasks) < count:
        m, k, n = (generator.randint(1, largest) for _ in range(3))
        rows, cols = arrays(generator)
        dataflow = DATAFLOWS[len(tasks) % 3]
        cycles = int(reported_cycles(m, k, n, rows, cols, dataflow))
        if not full or cycles * (rows + cols) < LIMIT:
            tasks.append(Task(m, 1, 1, 1, k, n, 1, 1, rows, cols, dataflow))
    return tasks


def convolutions(seed: int, count: int) -> list[tuple[Task, tuple[int, int, int]]]:
    """Strided, ragged and depthwise layers with the (m, k, n) that PyTorch gives them."""
    generator = random.Random(seed)
    pairs: list[tuple[Task, tuple[int, int, int]]] = []
    while len(pairs) < count:
        kernel, stride = generator.choice([(1, 1), (1, 2), (2, 2), (3, 1), (3, 2), (5, 2), (4, 4)])
        channels = generator.randint(1, 12)
        depthwise = generator.random() < 0.25
        layer = conv(
            size=generator.randint(kernel, 14),
            channels=channels,
            filters=channels if depthwise else generator.randint(1, 40),
            kernel=kernel,
            stride=stride,
            groups=channels if depthwise else 1,
        )
        rows, cols = arrays(generator)
        task = layer_task(layer, rows, cols, DATAFLOWS[len(pairs) % 3])
        cycles = int(reported_cycles(layer.m, layer.k, layer.n, rows, cols, task.dataflow))
        if cycles * (rows + cols) < LIMIT:
            pairs.append((task, (layer.m, layer.k, layer.n)))
    return pairs


def ours(task: Task, sizes: tuple[int, int, int] | None = None) -> int:
    return int(reported_cycles(*(sizes or task.product), task.rows, task.cols, task.dataflow))


def test_the_grid_is_large_and_varied() -> None:
    tasks = [
        *products(1, FULL, 64, full=True),
        *products(2, BY_FOLDS, 2048, full=False),
        *(task for task, _ in convolutions(3, CONVOLUTIONS)),
    ]
    assert len(set(tasks)) >= 400
    assert {t.dataflow for t in tasks} == set(DATAFLOWS)
    assert {t.rows for t in tasks} == {t.cols for t in tasks} == set(SIDES)
    assert 0.2 < np.mean([t.rows == t.cols for t in tasks]) < 0.6


@pytest.mark.parametrize("part", range(4))
def test_products_in_full(part: int) -> None:
    for task in products(1, FULL, 64, full=True)[part::4]:
        assert ours(task) == simulate(task, full=True) == simulate(task), task


def test_convolutions_in_full() -> None:
    for task, sizes in convolutions(3, CONVOLUTIONS):
        assert ours(task, sizes) == simulate(task, full=True) == simulate(task), task


def test_large_products_by_scale_sims_compute_model() -> None:
    for task in products(2, BY_FOLDS, 2048, full=False):
        assert ours(task) == simulate(task), task
