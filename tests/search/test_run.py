"""Whole searches on the analytic problem, in this process."""

import csv
import json
import math

import numpy as np
import pytest
from analytic import OUTLINE, accuracy, evaluations
from rich.console import Console

from codesign.errors import RunError, UserError
from codesign.search import driver
from codesign.search.read import choose_trial, read_study
from codesign.settings import load_settings
from codesign.space import SearchSpace


@pytest.fixture
def run_dir(tmp_path):
    return tmp_path / "runs" / "small"


def test_a_search_ends_with_its_trials_and_files(search, run_dir, folder):
    assert search() == 0
    record = read_study(run_dir)
    complete = [trial for trial in record.trials if trial.state == "complete"]
    assert len(complete) == 10
    assert len(evaluations(folder)) == sum(trial.reuses is None for trial in complete)
    for name in ("settings.yaml", "environment.json", "study.db", "summary.json", "log.txt"):
        assert (run_dir / name).is_file()
    for trial in complete:
        assert trial.values["accuracy"] == pytest.approx(accuracy(trial.design))
        assert trial.metrics["accuracy_post_training"] == pytest.approx(
            trial.values["accuracy"] - 0.01
        )
        assert (run_dir / "designs" / f"{trial.number}.npz").is_file()
    assert not [path for path in run_dir.rglob(".*") if path.name != ".lock"]


def test_the_record_says_what_backs_each_cost(search, run_dir):
    search()
    assert "relative" in read_study(run_dir).provenance["fpga.energy_mj"]


def test_baselines_come_first(search, run_dir):
    search()
    labels = [trial.label for trial in read_study(run_dir).trials]
    assert labels[:4] == ["8-bit uniform", "4-bit uniform", "4-bit log2", "float activation, 8-bit"]
    assert set(labels[4:]) == {None}


def test_the_front_is_measured_and_written(search, run_dir):
    search("trials=14")
    record = read_study(run_dir)
    points = {
        t.number: (-t.values["accuracy"], t.values["fpga.latency_ms"], t.values["fpga.dsp"])
        for t in record.trials
        if t.state == "complete" and t.reuses is None
    }
    expected = {
        n
        for n, p in points.items()
        if not any(all(np.less_equal(q, p)) and q != p for q in points.values())
    }
    assert {t.number for t in record.front} == expected
    for trial in record.front:
        measured = trial.metrics["test_accuracy"]
        assert measured == pytest.approx(trial.values["accuracy"] - 0.005)
        # By hand: K + R + C - 2 cycles a fold.
        a = trial.design.accelerator
        if a.dataflow == "os" and a.precision == "static":
            cycles = sum(
                -(-64 // r) * -(-info.weight_elements // 24 // c) * (24 + r + c - 2)
                for info, (_, layer) in zip(OUTLINE.layers, trial.design.layers, strict=True)
                for r, c in [
                    (a.shift_rows, a.shift_cols)
                    if layer.weight_scheme == "log2"
                    else (a.mac_rows, a.mac_cols)
                ]
            )
            assert trial.metrics["fpga.scalesim_cycles"] == cycles
        assert trial.metrics["fpga.scalesim_differing_layers"] == 0
    rows = list(csv.DictReader((run_dir / "pareto.csv").open()))
    assert {int(row["trial"]) for row in rows} == expected
    assert float(rows[0]["accuracy"]) == max(float(row["accuracy"]) for row in rows)
    summary = json.loads((run_dir / "summary.json").read_text())
    assert summary["knee"] in expected
    assert summary["hypervolume"] == record.hypervolume[-1][1]
    volumes = [volume for _, volume in record.hypervolume]
    assert volumes == sorted(volumes) and 0 < volumes[-1] < 1


def test_choosing_a_trial(search, run_dir):
    search()
    record = read_study(run_dir)
    best = choose_trial(record, "best:accuracy")
    assert best.values["accuracy"] == max(t.values["accuracy"] for t in record.front)
    cheapest = choose_trial(record, "best:fpga.dsp")
    assert cheapest.values["fpga.dsp"] == min(t.values["fpga.dsp"] for t in record.front)
    assert choose_trial(record, "knee").on_front
    assert choose_trial(record, "0").number == 0
    for which in ("99", "best:beauty", "the best"):
        with pytest.raises(UserError):
            choose_trial(record, which)


def results(run_dir):
    return [
        (t.number, t.state, t.design, dict(t.values), t.label) for t in read_study(run_dir).trials
    ]


@pytest.mark.parametrize("sampler", ["nsga2", "tpe", "random"])
def test_same_seed_same_study(search, tmp_path, sampler):
    for name in ("one", "two"):
        assert search(f"sampler.name={sampler}", f"study={name}") == 0
    search(f"sampler.name={sampler}", "seed=1", "study=other")
    one, two, other = (results(tmp_path / "runs" / name) for name in ("one", "two", "other"))
    assert one == two
    assert one != other


def test_the_gp_sampler(search, run_dir):
    assert search("sampler.name=gp", "objectives={accuracy: max}", "trials=6") == 0
    assert sum(t.state == "complete" for t in read_study(run_dir).trials) == 6


def test_continuing_adds_the_missing_trials(search, run_dir, folder):
    search("trials=6")
    before = results(run_dir)
    search("trials=9")
    after = results(run_dir)
    assert after[: len(before)] == before
    assert sum(state == "complete" for _, state, *_ in after) == 9
    count = len(evaluations(folder))
    assert search("trials=9") == 0
    assert len(evaluations(folder)) == count
    assert len(after) == len({design for _, _, design, *_ in after if design})


def test_equal_designs_are_evaluated_once(search, run_dir, folder):
    tiny = [
        "network.weights={uniform: [4, 8]}",
        "network.activation_bits=[8]",
        "network.activations.choices=[relu]",
        "network.fixed={'stages.*': {weight: uniform_8}}",
        "network.first_and_last_bits=0",
        *(
            f"accelerator.{name}=[{value}]"
            for name, value in {
                "mac_rows": 16,
                "mac_cols": 16,
                "shift_rows": 8,
                "shift_cols": 8,
                "dataflow": "os",
                "precision": "static",
                "input_buffer_kb": 64,
                "weight_buffer_kb": 64,
                "output_buffer_kb": 64,
                "vector_lanes": 8,
                "depthwise_lanes": 8,
            }.items()
        ),
    ]
    assert search(*tiny, "trials=15") == 0
    keys = evaluations(folder)
    assert len(keys) == len(set(keys)) <= 4
    record = read_study(run_dir)
    complete = [t for t in record.trials if t.state == "complete"]
    assert len(complete) == 15
    repeated = [t for t in complete if t.reuses is not None]
    assert len(repeated) == 15 - len(keys)
    by_number = {t.number: t for t in record.trials}
    for trial in repeated:
        first = by_number[trial.reuses]
        assert (trial.design, trial.values) == (first.design, first.values)
        assert first.number < trial.number and first.reuses is None and not trial.on_front


def test_designs_over_a_hard_limit_are_never_evaluated(search, run_dir, folder):
    assert search("constraints={fpga.dsp_pct: 10}", "trials=8") == 0
    record = read_study(run_dir)
    refused = [t for t in record.trials if t.state == "refused"]
    assert refused
    for trial in refused:
        assert trial.metrics["fpga.dsp"] / 1728 > 0.1
        assert trial.reason.startswith("refused: fpga.dsp_pct") and "> 10" in trial.reason
        assert not trial.on_front and not trial.values
    complete = [t for t in record.trials if t.state == "complete"]
    assert len(complete) == 8
    assert set(evaluations(folder)) == {t.design.key for t in complete}
    assert all(t.constraints["fpga.dsp_pct"] <= 0 for t in complete)


def test_a_budget_nothing_fits_stops_with_advice(search, folder, monkeypatch):
    monkeypatch.setattr(driver, "MAX_REFUSALS", 40)
    with pytest.raises(RunError, match=r"40 designs in a row.*fpga.dsp_pct"):
        search("constraints.fpga.dsp_pct=1", "sampler.name=random")
    assert evaluations(folder) == []


def test_a_soft_limit_keeps_trials_off_the_front(search, run_dir):
    assert search("constraints.accuracy.min=0.97", "trials=12") == 0
    record = read_study(run_dir)
    complete = [t for t in record.trials if t.state == "complete"]
    below = [t for t in complete if t.values["accuracy"] < 0.97]
    assert below
    for trial in complete:
        excess = trial.constraints["accuracy.min"]
        assert excess == pytest.approx(0.97 - trial.values["accuracy"])
    assert record.front and not any(t.on_front for t in below)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("raise", "ArithmeticError: the matrix is singular"),
        ("nan", "accuracy is nan"),
        ("missing", "the evaluation gave no metric 'accuracy'"),
    ],
)
def test_a_bad_evaluation_is_a_failed_trial(search, arguments, run_dir, fault, reason):
    space = SearchSpace(load_settings(arguments), OUTLINE)
    bad = dict(space.baselines())["4-bit uniform"]
    assert search("trials=6", faults={bad.key: fault}) == 0
    record = read_study(run_dir)
    failed = [t for t in record.trials if t.state == "failed"]
    assert [(t.label, t.reason) for t in failed] == [("4-bit uniform", reason)]
    assert sum(t.state == "complete" for t in record.trials) == 6
    assert all(math.isfinite(v) for t in record.trials for v in t.values.values())


def test_ten_failures_in_a_row_end_the_run(search, run_dir, folder):
    with pytest.raises(RunError, match=r"10 trials failed in a row.*singular"):
        search(faults={"*": "raise"})
    assert [t.state for t in read_study(run_dir).trials] == ["failed"] * 10
    assert len(evaluations(folder)) == 10
    assert json.loads((run_dir / "summary.json").read_text())["front"] == []
    assert search() == 0


def test_an_evaluation_that_hangs_times_out(search, arguments, run_dir):
    space = SearchSpace(load_settings(arguments), OUTLINE)
    bad = dict(space.baselines())["8-bit uniform"]
    assert search("trials=4", "timeout_s=0.5", faults={bad.key: "hang"}) == 0
    reasons = [t.reason for t in read_study(run_dir).trials if t.state == "failed"]
    assert reasons == ["TimeoutError: timed out after 0.5 s"]


def test_other_settings_are_refused_with_the_difference(search, run_dir):
    search("trials=4")
    before = results(run_dir)
    with pytest.raises(UserError, match=r"distill\.steps: 24 -> 99.*study=NAME"):
        search("distill.steps=99")
    with pytest.raises(UserError, match="objectives"):
        search("objectives={accuracy: max}")
    assert results(run_dir) == before
    assert search("trials=5", "workers=3", "sampler.name=random") == 0


@pytest.mark.parametrize("key", ["objectives", "constraints"])
def test_unknown_metrics_name_the_nearest(search, tmp_path, key):
    value = "min" if key == "objectives" else "5"
    with pytest.raises(UserError, match=rf"{key}.*fpga\.latency_us.*fpga\.latency_ms"):
        search(f"{key}.fpga.latency_us={value}")
    assert not (tmp_path / "runs" / "small").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("hardware.board=zcu999", r"zcu999.*zcu104"),
        ("cost.gpus=[voodoo]", r"voodoo.*a100"),
        ("cost.gpu_profile=tensort", r"tensort.*Did you mean 'tensorrt'"),
        ("cost.gpu_precision=int2", r"int2.*int4"),
        ("cost.fabric=vivado", r"vivado.*yosys"),
        ("accelerator.mac_pe=[clb]", r"clb.*lut"),
    ],
)
def test_unknown_hardware_lists_what_there_is(search, tmp_path, override, message):
    with pytest.raises(UserError, match=message):
        search(override)
    assert not (tmp_path / "runs").exists()


def test_a_space_that_fails_leaves_nothing_behind(search, tmp_path):
    with pytest.raises(UserError, match="matches no layer"):
        search("network.fixed={'nowhere.*': {weight: uniform_8}}")
    assert not (tmp_path / "runs" / "small").exists()


@pytest.mark.parametrize("runs", ["/proc/runs", "/dev/null/runs"])
def test_a_folder_that_cannot_be_written(search, runs):
    with pytest.raises(UserError, match=r"cannot be written.*runs_dir=DIR"):
        search(f"runs_dir={runs}")


def test_a_damaged_database_is_named(search, run_dir):
    search("trials=4")
    (run_dir / "study.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(UserError, match=r"study\.db cannot be opened"):
        search("trials=5")


def test_damaged_design_files_lose_only_the_design(search, run_dir):
    search("trials=4")
    (run_dir / "designs" / "1.json").write_text('{"design": {"lay')
    record = read_study(run_dir)
    assert record.trials[1].design is None
    assert record.trials[1].values["accuracy"] > 0


@pytest.mark.parametrize("objectives", ["{accuracy: max}", "{accuracy: max, fpga.dsp: min}"])
def test_fewer_objectives(search, run_dir, objectives):
    assert search(f"objectives={objectives}", "trials=6") == 0
    record = read_study(run_dir)
    assert list(record.objectives) == list(record.reference_point)
    assert record.front


def test_a_journal_as_storage(search, run_dir, tmp_path):
    storage = f"storage=journal:{tmp_path / 'study.journal'}"
    assert search(storage, "trials=5") == 0
    assert not (run_dir / "study.db").exists()
    assert search(storage, "trials=6") == 0
    assert sum(t.state == "complete" for t in read_study(run_dir).trials) == 6


def test_what_a_user_sees(search, run_dir, tmp_path):
    text = (tmp_path / "out.txt").open("w+")
    search("trials=5", console=Console(file=text, width=120))
    text.seek(0)
    shown = text.read()
    assert shown.count("trial ") >= 5 and "Pareto front" in shown and "knee" in shown
    assert f"optuna-dashboard sqlite:///{run_dir / 'study.db'}" in shown
    assert "python -m codesign.export" in shown
    log = (run_dir / "log.txt").read_text()
    assert all(f"trial {t.number}: " in log for t in read_study(run_dir).trials)


def test_reading_what_is_no_run(tmp_path):
    with pytest.raises(UserError, match="no run directory"):
        read_study(tmp_path)
    (tmp_path / "settings.yaml").write_text("study: x\n")
    with pytest.raises(UserError, match="no study yet"):
        read_study(tmp_path)
