"""Cycles by SCALE-Sim in a search: priced, refused on other studies, reported, run by Ray."""

import csv
from dataclasses import replace

import pytest
from random_networks import random_design, uniform_design

from codesign.errors import UserError
from codesign.graph.capture import capture
from codesign.search.evaluator import EvaluationProblem
from codesign.search.read import read_study
from codesign.search.simulations import cycle_model, parallel
from codesign.settings import SearchSettings, load_settings
from costmodels.accelerator import Accelerator
from costmodels.scalesim import Task, count, simulate_all
from costmodels.scalesim.compute_model import reported_by_folds


@pytest.fixture(scope="module")
def graph():
    import torch

    layers = [torch.nn.Conv2d(3, 6, 3, 2, 1), torch.nn.ReLU(), torch.nn.Conv2d(6, 5, 1)]
    network = torch.nn.Sequential(*layers).eval()
    return capture(network, (3, 12, 12), "tiny")


def problem(graph, tmp_path, **cost):
    settings = SearchSettings(runs_dir=str(tmp_path / "runs"), executor="serial")
    settings.cost = replace(settings.cost, **({"gpus": []} | cost))
    return EvaluationProblem(settings, graph, None, {})


def test_designs_are_priced_by_scalesim_where_asked(graph, tmp_path):
    design = random_design(graph, 0, Accelerator(mac_rows=4, mac_cols=4, dataflow="os"))
    closed = problem(graph, tmp_path).price(design)
    assert not (tmp_path / "runs" / ".cache" / "scalesim").exists()
    simulated = problem(graph, tmp_path, cycles="scalesim").price(design)
    assert simulated.layers == closed.layers
    assert list((tmp_path / "runs" / ".cache" / "scalesim").glob("*.json"))
    assert "SCALE-Sim 3.0.0" in simulated.source("fpga.latency_ms")
    drained = problem(graph, tmp_path, drain=True).price(design)
    assert drained.metrics["fpga.compute_cycles"] > closed.metrics["fpga.compute_cycles"]
    assert "with drain" in drained.source("fpga.compute_cycles")


def test_designs_are_priced_by_the_profiles_asked_for(graph, tmp_path):
    accelerator = Accelerator(mac_rows=4, mac_cols=4, mac_pe="lut")
    design = replace(uniform_design(graph), accelerator=accelerator)
    usual = problem(graph, tmp_path, gpus=["a100"]).price(design)
    cost = {"fabric": "finn", "gpu_profile": "tensorrt", "gpu_precision": "fp16"}
    other = problem(graph, tmp_path, gpus=["a100"], **cost).price(design)
    for metric in ("fpga.mac_array_lut", "gpu.a100.latency_ms"):
        assert other.metrics[metric] != usual.metrics[metric]
        assert other.source(metric) != usual.source(metric)
    assert other.metrics["fpga.latency_ms"] == usual.metrics["fpga.latency_ms"]


def test_designs_are_priced_for_the_batch_asked_for(graph, tmp_path):
    design = uniform_design(graph)
    one, four = (problem(graph, tmp_path, batch=n).price(design) for n in (1, 4))
    assert (one.batch, four.batch) == (1, 4)
    assert four.metrics["fpga.compute_cycles"] <= 4 * one.metrics["fpga.compute_cycles"]
    assert four.metrics["fpga.latency_ms"] > one.metrics["fpga.latency_ms"]


def test_another_cycle_model_is_refused_on_a_study(search):
    search("trials=2")
    with pytest.raises(UserError, match=r"cost\.cycles: closed_form -> scalesim.*study=NAME"):
        search("cost.cycles=scalesim")
    with pytest.raises(UserError, match=r"cost\.overlap: False -> True"):
        search("cost.overlap=true")
    with pytest.raises(UserError, match=r"cost\.batch: 1 -> 8"):
        search("cost.batch=8")


def test_options_that_scalesim_has_not_are_refused(arguments):
    with pytest.raises(UserError, match=r"cost\.drain=true needs cost\.cycles=closed_form"):
        load_settings([*arguments, "cost.cycles=scalesim", "cost.drain=true"])


def test_reports_of_the_front_are_kept_also_of_a_finished_study(search, tmp_path):
    small = ["accelerator.mac_rows=[16]", "accelerator.mac_cols=[16]"]
    small += ["accelerator.shift_rows=[16]", "accelerator.shift_cols=[16]"]
    assert search("trials=3", *small) == 0
    folder = tmp_path / "reports"
    assert search("trials=3", f"cost.reports={folder}", *small) == 0
    tables = list(folder.glob("analytic-*.csv"))
    front = [
        trial.metrics["fpga.scalesim_cycles"]
        for trial in read_study(tmp_path / "runs" / "small").front
    ]
    found = set()
    for table in tables:
        rows = list(csv.DictReader(table.open()))
        assert all((folder / row["folder"] / "BANDWIDTH_REPORT.csv").is_file() for row in rows)
        found.add(
            sum(
                (int(row["reported_cycles"]) + 1) * int(row["repeats"]) * int(row["passes"])
                for row in rows
            )
        )
    assert found == set(front)


def test_a_reports_folder_that_cannot_be_written_is_named(search, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(UserError, match=r"cost\.reports=.*file cannot be written"):
        search("trials=2", f"cost.reports={file}")


def test_simulations_run_in_rays_workers_while_a_search_holds_all_cores(tmp_path, monkeypatch):
    import ray

    settings = SearchSettings(runs_dir=str(tmp_path), executor="ray", workers=1, device="cpu")
    settings.cost.cycles = "scalesim"
    assert parallel(replace(settings, executor="serial")) is None
    model = cycle_model(settings)
    tasks = [Task(m, 1, 1, 1, 6, 7, 1, 1, 4, 4, "is") for m in (5, 6, 11)]
    monkeypatch.setattr(count, "WORTH_SHARING", 0)
    ray.init(num_cpus=1, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    try:

        @ray.remote(num_cpus=1)
        class Busy:
            def ready(self):
                return True

        busy = Busy.remote()
        assert ray.get(busy.ready.remote())
        found = simulate_all(tasks, model.cache_dir, model.parallel)
        assert ray.is_initialized()
    finally:
        ray.shutdown()
    assert found == {task: reported_by_folds(task) for task in tasks}
    assert len(list(model.cache_dir.iterdir())) == 3
