"""The SCALE-Sim adapter against full SCALE-Sim runs, and its cache."""

import json
import pickle
import random
from pathlib import Path

import pytest
from sample_workloads import conv, linear, matmul, mobile_block

from costmodels.accelerator import Accelerator
from costmodels.engines import simulation_tasks
from costmodels.errors import CostModelError
from costmodels.scalesim import Task, layer_task, simulate, simulate_layer
from costmodels.systolic import DATAFLOWS


def random_tasks(count: int) -> list[Task]:
    generator = random.Random(7)
    tasks = []
    for _ in range(count):
        kernel, stride = generator.choice([(1, 1), (2, 1), (3, 1), (3, 2)])
        size = kernel + stride * generator.randint(1, 7)
        channels, filters = generator.randint(1, 8), generator.randint(1, 24)
        array = generator.randint(1, 12), generator.randint(1, 12), generator.choice(DATAFLOWS)
        shape = (size, size, kernel, kernel, channels, filters, stride, stride)
        tasks.append(Task(*shape, *array))
    return tasks


@pytest.mark.parametrize("task", random_tasks(24), ids=lambda task: task.key[:8])
def test_compute_model_alone_equals_the_full_run(task: Task) -> None:
    assert simulate(task) == simulate(task, full=True)


def test_repeats_multiply_one_product() -> None:
    one = simulate(layer_task(matmul(), 4, 4, "ws")) + 1  # reported is the index of the last one
    assert simulate_layer(matmul(repeats=5), 4, 4, "ws") == 5 * one


def test_depthwise_is_one_channel_at_a_time() -> None:
    layer = conv(size=6, channels=4, filters=4, groups=4)
    task = layer_task(layer, 4, 4, "os")
    assert (task.channels, task.filters) == (1, 1)
    assert simulate_layer(layer, 4, 4, "os") == 4 * (simulate(task, full=True) + 1)


def test_strided_convolutions_are_trimmed_to_what_the_stride_reaches() -> None:
    layer = conv(size=8, stride=2)  # 10 pixels with padding, of which 9 are reached
    task = layer_task(layer, 4, 4, "os")
    assert (task.height, task.width) == (9, 9)


def test_pointwise_convolutions_count_as_their_product() -> None:
    layer = conv(size=5, channels=6, filters=7, kernel=1)
    as_convolution = Task(5, 5, 1, 1, 6, 7, 1, 1, 4, 4, "is")
    assert simulate(layer_task(layer, 4, 4, "is")) == simulate(as_convolution, full=True)


def test_dilated_convolutions_count_as_their_product() -> None:
    dilated = conv(size=9, channels=4, filters=5, kernel=3, kernel_height=5, kernel_width=5)
    as_product = Task(dilated.m, 1, 1, 1, 9 * 4, 5, 1, 1, 4, 4, "os")
    assert layer_task(dilated, 4, 4, "os") == as_product


def test_cached_result_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = layer_task(linear(), 4, 4, "os")
    first = simulate(task, tmp_path)

    def refuse(task: Task) -> int:
        raise AssertionError("simulated again")

    monkeypatch.setattr("costmodels.scalesim.count.reported_by_folds", refuse)
    assert simulate(task, tmp_path) == first


@pytest.mark.parametrize("damage", ["", "{", '{"count": "7"}', "[]"])
def test_damaged_cache_file_is_replaced(tmp_path: Path, damage: str) -> None:
    task = layer_task(linear(), 4, 4, "os")
    expected = simulate(task, tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_text(damage)
    assert simulate(task, tmp_path) == expected
    assert json.loads(file.read_text())["count"] == expected


def test_tasks_differ_by_content_alone() -> None:
    same = layer_task(linear("a"), 4, 4, "os"), layer_task(linear("b", weight_bits=4), 4, 4, "os")
    assert same[0].key == same[1].key
    assert same[0].key != layer_task(linear("a"), 4, 8, "os").key


def test_simulation_tasks_are_the_distinct_ones_on_arrays() -> None:
    tasks = simulation_tasks(mobile_block(), Accelerator(depthwise_lanes=4))
    assert len(set(tasks)) == len(tasks) == 5  # stem, pw, qk, av, head; not the depthwise layer
    assert pickle.loads(pickle.dumps(tasks)) == tasks


def test_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    simulate(layer_task(linear(), 4, 4, "ws"), full=True)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_unknown_dataflow_is_named() -> None:
    with pytest.raises(CostModelError, match="unknown dataflow"):
        simulate(layer_task(linear(), 4, 4, "rs"))
