"""Faults injected for real: signals to processes, workers that die, two drivers, a full disk."""

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
from analytic import OUTLINE, evaluations

from codesign.search.read import read_study
from codesign.settings import load_settings
from codesign.space import SearchSpace


@pytest.fixture
def run_dir(tmp_path):
    return tmp_path / "runs" / "small"


def states(run_dir):
    return [trial.state for trial in read_study(run_dir).trials]


def complete(run_dir):
    return [t for t in read_study(run_dir).trials if t.state == "complete"]


def test_the_driver_killed_loses_only_the_trials_in_flight(command, run_dir, folder):
    first = command(sleep_s=0.3)
    first.wait_for(lambda: len(evaluations(folder)) >= 3)
    first.kill()
    first.wait()
    before = complete(run_dir)
    assert "running" in states(run_dir) and len(before) >= 2
    second = command()
    assert second.wait() == 0, second.output
    assert "queued again" in second.output
    record = read_study(run_dir)
    assert {t.number: t.values for t in before}.items() <= {
        t.number: t.values for t in record.trials
    }.items()
    assert len(complete(run_dir)) == 10 and "running" not in states(run_dir)
    (lost,) = [t for t in record.trials if t.state == "failed"]
    assert lost.reason == "the search was killed while it ran"
    again = [t for t in record.trials if t.design == lost.design or t.label == lost.label]
    assert any(t.state == "complete" for t in again)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_first_signal_ends_cleanly(command, run_dir, folder, number):
    search = command(sleep_s=0.5)
    search.wait_for(lambda: len(evaluations(folder)) >= 2)
    search.kill(number)
    assert search.wait() == 130, search.output
    assert "the same command goes on" in search.output
    assert set(states(run_dir)) == {"complete"}
    assert len(complete(run_dir)) == len(evaluations(folder))
    assert (run_dir / "pareto.csv").is_file() and (run_dir / "summary.json").is_file()
    again = command()
    assert again.wait() == 0, again.output
    assert len(complete(run_dir)) == 10


def test_a_second_signal_ends_at_once_and_loses_nothing(command, run_dir, folder):
    search = command(sleep_s=60.0)
    search.wait_for(lambda: len(evaluations(folder)) >= 1)
    search.kill(signal.SIGINT)
    time.sleep(0.5)
    search.kill(signal.SIGINT)
    assert search.wait() == 130, search.output
    assert states(run_dir) == ["failed"]
    again = command("trials=5")
    assert again.wait() == 0, again.output
    assert [t.label for t in complete(run_dir)].count("8-bit uniform") == 1


def test_the_second_of_two_drivers_is_told(command, run_dir, folder):
    first = command(sleep_s=0.5)
    first.wait_for(lambda: len(evaluations(folder)) >= 1)
    second = command()
    assert second.wait() == 2
    assert f"process {first.process.pid}" in second.output
    assert second.output.count("\n") == 1
    assert first.wait() == 0, first.output
    assert len(complete(run_dir)) == 10


@pytest.mark.parametrize("overrides", [["spice=1"], ["trials=many"], ["distill.stpes=3"]])
def test_wrong_input_is_one_line_and_changes_nothing(command, tmp_path, overrides):
    search = command(*overrides)
    assert search.wait() == 2
    assert search.output.startswith("error: ") and search.output.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_full_disk_is_one_line(command, run_dir, folder):
    search = command(sleep_s=0.3)
    search.wait_for(lambda: len(evaluations(folder)) >= 2)
    limit = 64 * 1024  # bytes a file may have: the database cannot grow further
    resource.prlimit(search.process.pid, resource.RLIMIT_FSIZE, (limit, limit))
    assert search.wait() == 2, search.output
    last = search.output.strip().splitlines()[-1]
    assert last.startswith("error: ") and "Traceback" not in search.output
    again = command()
    assert again.wait() == 0, again.output
    assert len(complete(run_dir)) == 10
    with sqlite3.connect(run_dir / "study.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_importing_the_package_imports_neither_torch_nor_optuna_nor_ray():
    code = (
        "import sys, codesign, codesign.settings, codesign.cli, codesign.search, costmodels\n"
        "print([m for m in ('torch', 'optuna', 'ray', 'timm') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_the_serial_executor_needs_no_ray(arguments, folder):
    code = (
        "import sys; sys.modules['ray'] = None\n"
        "import analytic\n"
        f'code = analytic.main([\'{{"folder": "{folder}"}}\', *sys.argv[1:]])\n'
        "sys.exit(code)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    out = subprocess.run(
        [sys.executable, "-c", code, *arguments, "trials=4"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert out.returncode == 0, out.stderr


class TestRay:
    """Searches whose workers are Ray actors."""

    def test_faults_of_workers_stay_with_their_design(self, command, arguments, run_dir, folder):
        space = SearchSpace(load_settings(arguments), OUTLINE)
        keys = {label: design.key for label, design in space.baselines()}
        faults = {
            keys["8-bit uniform"]: "kill_once",
            keys["4-bit uniform"]: "kill",
            keys["4-bit log2"]: "hang",
            keys["float activation, 8-bit"]: "raise",
        }
        search = command(
            "executor=ray", "workers=2", "trials=5", "timeout_s=3", faults=faults, sleep_s=0.2
        )
        assert search.wait() == 0, search.output
        record = read_study(run_dir)
        reasons = {t.label: t.reason for t in record.trials if t.label}
        assert reasons["8-bit uniform"] is None
        assert "died 2 times" in reasons["4-bit uniform"]
        assert reasons["4-bit log2"] == "timed out after 3 s"
        assert reasons["float activation, 8-bit"] == "ArithmeticError: the matrix is singular"
        assert evaluations(folder).count(keys["8-bit uniform"]) == 2
        assert evaluations(folder).count(keys["4-bit uniform"]) == 2
        assert len(complete(run_dir)) == 5
        workers = {int(line.split()[1]) for line in (folder / "log").read_text().splitlines()}
        assert len(workers) >= 5 and search.process.pid not in workers

    def test_workers_that_cannot_start(self, command):
        search = command("executor=ray", "workers=1", faults={"*": "start"})
        assert search.wait() == 1, search.output
        assert "cannot load the problem: ValueError: no such tensor" in search.output
        assert "Traceback" not in search.output

    def test_ctrl_c_reaches_the_whole_process_group(self, command, run_dir, folder):
        search = command("executor=ray", "workers=2", sleep_s=1.0)
        search.wait_for(lambda: len(evaluations(folder)) >= 3)
        os.killpg(search.process.pid, signal.SIGINT)
        assert search.wait() == 130, search.output
        assert set(states(run_dir)) == {"complete"}
        assert len(complete(run_dir)) == len(evaluations(folder))

    def test_the_driver_killed_takes_ray_with_it_and_can_go_on(self, command, run_dir, folder):
        search = command("executor=ray", "workers=2", sleep_s=1.0)
        search.wait_for(lambda: len(evaluations(folder)) >= 3)
        workers = {int(line.split()[1]) for line in (folder / "log").read_text().splitlines()}
        search.kill()
        search.process.wait()
        deadline = time.monotonic() + 60
        while any(os.path.exists(f"/proc/{pid}") for pid in workers):
            assert time.monotonic() < deadline, "orphaned workers"
            time.sleep(0.2)
        again = command()
        assert again.wait() == 0, again.output
        assert len(complete(run_dir)) == 10 and "running" not in states(run_dir)
