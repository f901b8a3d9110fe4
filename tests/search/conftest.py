"""Fixtures of the search's tests: settings of a small search, and the command as a process."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from analytic import source
from rich.console import Console

from codesign.search.run import run_search
from codesign.settings import load_settings

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SPACE = """
executor: serial
trials: 10
device: cpu
report: false
sampler: {population: 4}
"""


@pytest.fixture
def folder(tmp_path):
    """Where the analytic problem keeps its log."""
    path = tmp_path / "problem"
    path.mkdir()
    return path


@pytest.fixture
def arguments(tmp_path):
    """The command line of a small serial search in a fresh runs folder."""
    space = tmp_path / "small.yaml"
    space.write_text(SPACE)
    return [f"space={space}", f"runs_dir={tmp_path / 'runs'}"]


@pytest.fixture
def search(arguments, folder):
    """Run a search in this process: `search("trials=5", fault="raise")` gives its exit code."""

    def run(*overrides, console=None, **options):
        settings = load_settings([*arguments, *overrides])
        return run_search(settings, source(folder, **options), console or Console(quiet=True))

    return run


class Command:
    """The search as a process of its own, in a process group of its own."""

    def __init__(self, arguments, folder, overrides, options):
        environment = os.environ | {"PYTHONPATH": f"{ROOT}:{HERE}", "OMP_NUM_THREADS": "1"}
        options = json.dumps({"folder": str(folder), **options})
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "analytic.py"), options, *arguments, *overrides],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.output = ""

    def wait(self):
        """Return the exit code; the output is then whole."""
        self.output += self.process.communicate(timeout=120)[0]
        return self.process.returncode

    def wait_for(self, condition):
        """Wait until `condition()` holds while the process runs."""
        while not condition():
            assert self.process.poll() is None, self.process.stdout.read()
            time.sleep(0.05)

    def kill(self, number=signal.SIGKILL):
        """Send a signal to the driver."""
        os.kill(self.process.pid, number)


@pytest.fixture
def command(arguments, folder):
    """Start the search as a process: `command("executor=ray", sleep_s=1.0)`."""
    started = []

    def start(*overrides, **options):
        started.append(Command(arguments, folder, overrides, options))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            os.killpg(one.process.pid, signal.SIGKILL)
            one.process.wait()
        one.process.stdout.close()
