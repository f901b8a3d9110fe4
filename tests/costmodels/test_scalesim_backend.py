"""SCALE-Sim in the place of the closed forms: whole estimates, reports, simulations in parallel."""

import csv
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sample_workloads import conv, linear, matmul, mobile_block

from costmodels.accelerator import Accelerator
from costmodels.cache import read_entry, write_entry
from costmodels.cycles import CycleModel
from costmodels.engines import place
from costmodels.errors import CostModelError
from costmodels.estimate import estimate
from costmodels.scalesim import (
    REPORTS,
    Buffers,
    Task,
    count,
    full_run,
    layer_task,
    simulate,
    simulate_all,
    simulate_layer,
)
from costmodels.scalesim.compute_model import demand_elements, reported_by_folds
from costmodels.scalesim.task import layer_buffers
from costmodels.workload import Workload

SMALL = Accelerator(mac_rows=8, mac_cols=4, shift_rows=4, shift_cols=8, depthwise_lanes=0)


def numbers(report):
    """Return column name to value of the one row of a report."""
    header, row = (line.split(",") for line in report.strip().splitlines())
    return {h.strip(): float(v) for h, v in zip(header, row, strict=True) if h.strip()}


@pytest.mark.parametrize("dataflow", ["os", "ws", "is"])
@pytest.mark.parametrize("precision", ["static", "reconfigurable"])
def test_the_two_models_give_equal_costs(dataflow, precision, tmp_path):
    accelerator = replace(SMALL, dataflow=dataflow, precision=precision)
    narrow = {"weight_bits": 4, "activation_bits": 4}
    extra = (
        conv("strided", size=11, kernel=3, stride=2, **narrow),
        linear("mixed", weight_scheme="mixed", weight_bits=4, log2_share=0.5),
        linear("apot", weight_scheme="apot", weight_bits=5),
    )
    workload = Workload("w", mobile_block().operations + extra, 0)
    closed = estimate(workload, accelerator)
    simulated = estimate(workload, accelerator, cycles="scalesim", cache_dir=tmp_path)
    assert simulated.layers == closed.layers
    alone = {name for name in simulated.metrics if name not in closed.metrics}
    assert alone == {"scalesim.cycles", "scalesim.latency_ms"}
    assert {n: simulated.metrics[n] for n in closed.metrics} == dict(closed.metrics)
    assert "SCALE-Sim 3.0.0, its compute model" in simulated.source("fpga.compute_cycles")
    assert "closed form" in closed.source("fpga.latency_ms")
    assert list(tmp_path.iterdir())


def test_strided_depthwise_layers_are_what_scalesim_makes_of_dp_layers(tmp_path):
    """SCALE-Sim splits a layer with DP in its name into layers of one channel."""
    from scalesim.topology_utils import topologies

    layer = conv(size=8, channels=3, filters=3, groups=3, stride=2)
    table = tmp_path / "dp.csv"
    table.write_text("Layer,h,w,kh,kw,c,n,s,\nDPconv,9,9,3,3,3,1,2,\n")
    theirs = topologies()
    theirs.load_arrays_conv(str(table))
    assert len(theirs.topo_arrays) == 3
    tasks = [Task(*array[1:9], 4, 4, "ws") for array in theirs.topo_arrays]
    assert tasks == [layer_task(layer, 4, 4, "ws")] * 3
    assert simulate_layer(layer, 4, 4, "ws") == sum(simulate(t, full=True) + 1 for t in tasks)


@pytest.mark.parametrize("stride", [2, 3])
def test_strided_layers_have_the_outputs_of_torch(stride):
    import torch

    for size in range(7, 13):
        with torch.no_grad():
            out = torch.nn.Conv2d(1, 1, 3, stride, 1)(torch.zeros(1, 1, size, size)).shape[-1]
        task = layer_task(conv(size=size, stride=stride), 4, 4, "os")
        assert task.product[0] == out * out
        reports = full_run(task).reports
        written = numbers(reports["DETAILED_ACCESS_REPORT.csv"])["DRAM OFMAP Writes"]
        assert written == out * out * task.filters


def test_outputs_that_kernel_and_stride_do_not_give_are_a_product():
    cropped = replace(conv(size=8), m=9)
    assert layer_task(cropped, 4, 4, "os") == Task(9, 1, 1, 1, cropped.k, 16, 1, 1, 4, 4, "os")


def test_reports_of_every_shape_are_kept(tmp_path):
    twice = linear("b", weight_bits=4)
    workload = Workload("a/b net", (linear("a"), twice, linear("c"), matmul("d")), 0)
    model = CycleModel("scalesim", reports_dir=tmp_path)
    cost = estimate(workload, SMALL, cycles=model)
    assert cost.layers == estimate(workload, SMALL).layers
    assert "SCALE-Sim 3.0.0, in full" in cost.source("fpga.compute_cycles")
    (table,) = tmp_path.glob("a_b_net-*.csv")
    rows = list(csv.DictReader(table.open()))
    assert [row["layer"] for row in rows] == ["a", "b", "c", "d"]
    assert rows[0]["folder"] == rows[2]["folder"] != rows[1]["folder"]  # other words a buffer
    for row, layer in zip(rows, cost.layers, strict=True):
        folder = tmp_path / row["folder"]
        assert {path.name for path in folder.iterdir()} == {*REPORTS, "run.json"}
        compute = numbers((folder / "COMPUTE_REPORT.csv").read_text())
        assert compute["Total Cycles"] == int(row["reported_cycles"])
        total = (compute["Total Cycles"] + 1) * int(row["repeats"]) * int(row["passes"])
        assert total == layer.compute_cycles
        details = numbers((folder / "DETAILED_ACCESS_REPORT.csv").read_text())
        assert details["SRAM OFMAP Writes"] > 0
        assert json.loads((folder / "run.json").read_text())["scalesim"] == "3.0.0"


def test_reports_are_not_made_twice_and_damaged_ones_again(tmp_path, monkeypatch):
    workload = Workload("net", (linear("a"), matmul("d")), 0)
    model = CycleModel("scalesim", reports_dir=tmp_path)
    first = estimate(workload, SMALL, cycles=model)
    damaged, _ = (p for p in sorted(tmp_path.iterdir()) if p.is_dir())
    (damaged / "COMPUTE_REPORT.csv").write_text("LayerID,\n")
    runs = []

    def counted(*run):
        runs.append(run)
        return full_run(*run)

    monkeypatch.setattr("costmodels.scalesim.reports.full_run", counted)
    assert estimate(workload, SMALL, cycles=model) == first
    assert len(runs) == 1
    assert numbers((damaged / "COMPUTE_REPORT.csv").read_text())["Total Cycles"] > 0


def test_buffers_are_counted_in_words_of_the_codes():
    accelerator = replace(SMALL, input_buffer_kb=32, weight_buffer_kb=16, output_buffer_kb=64)
    layer = linear(weight_bits=4, activation_bits=8)
    ((placement,), _) = place(Workload("one", (layer,), 0), accelerator, "DSP48E2")
    sums = placement.accumulator_bits
    assert layer_buffers(placement, accelerator) == Buffers(64, 64, 2 * 64 * 8 // sums)


def test_small_memories_make_scalesim_read_more_from_dram():
    task = Task(64, 1, 1, 1, 64, 64, 1, 1, 8, 8, "os")
    reads = [
        numbers(full_run(task, Buffers(kb, kb, kb)).reports["DETAILED_ACCESS_REPORT.csv"])
        for kb in (1, 64)
    ]
    assert reads[0]["DRAM Filter Reads"] > reads[1]["DRAM Filter Reads"] >= 64 * 64


def test_parallel_simulations_are_filed_like_others(tmp_path, monkeypatch):
    tasks = [Task(m, 1, 1, 1, 5, 7, 1, 1, 4, 4, "ws") for m in (3, 9, 3, 27)]
    shared = []

    def parallel(function, items):
        shared.extend(items)
        with ThreadPoolExecutor(2) as pool:
            yield from pool.map(function, items)

    monkeypatch.setattr(count, "WORTH_SHARING", 0)
    found = simulate_all(tasks, tmp_path, parallel)
    assert shared == [tasks[0], tasks[1], tasks[3]]
    assert found == {task: reported_by_folds(task) for task in tasks}
    count._memory.clear()
    assert simulate_all(tasks, tmp_path, parallel) == found  # from the files
    assert len(shared) == 3
    monkeypatch.setattr(count, "WORTH_SHARING", demand_elements(tasks[0]))
    simulate_all([replace(tasks[0], cols=3)], tmp_path, parallel)  # too little to share
    assert len(shared) == 3


def test_one_multiplication_is_cached_though_it_is_reported_as_cycle_zero(tmp_path):
    task = Task(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, "os")
    assert simulate(task, tmp_path) == 0
    (file,) = tmp_path.iterdir()
    content = json.loads(file.read_text())
    assert read_entry(file, content["task"]) == 0
    for wrong in (True, -1, 0.5):
        write_entry(file, content["task"], wrong)
        assert read_entry(file, content["task"]) is None


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (CycleModel("rtl"), r"unknown cycles 'rtl'\. Known: closed_form, scalesim"),
        (CycleModel("scalesim", drain=True), "drain: SCALE-Sim has no such option"),
        (CycleModel("scalesim", overlap=True), "overlap: SCALE-Sim has no such option"),
        (CycleModel(reports_dir="x"), "reports_dir: only cycles='scalesim'"),
    ],
)
def test_options_that_do_not_go_together_are_named(model, message):
    with pytest.raises(CostModelError, match=message):
        estimate(mobile_block(), SMALL, cycles=model)
