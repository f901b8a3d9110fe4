"""python -m codesign.report on the study of a real search (of a problem made of formulas)."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ANALYTIC = ROOT / "tests" / "search" / "analytic.py"


def run(*words):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *map(str, words)], env=environment, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    (folder / "problem").mkdir()
    space = folder / "small.yaml"
    space.write_text("executor: serial\ntrials: 12\nreport: true\nsampler: {population: 4}\n")
    options = json.dumps({"folder": str(folder / "problem")})
    done = run(ANALYTIC, options, f"space={space}", f"runs_dir={folder / 'runs'}")
    assert done.returncode == 0, done.stderr
    return folder / "runs" / "small"


def test_a_search_ends_with_a_report_that_can_be_written_again(study):
    page, sheet = study / "report.html", study / "report.png"
    assert sheet.stat().st_size > 10_000
    first = page.read_text()
    page.unlink()
    done = run("-m", "codesign.report", f"run={study}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(page), str(sheet)]

    def tables(text):
        return re.sub(r"<svg.*?</svg>", "", text, flags=re.DOTALL)

    assert tables(page.read_text()) == tables(first)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "which study"),
        (("run=nowhere",), "nowhere is no run directory"),
        (("ran=x",), "run"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(words, message):
    done = run("-m", "codesign.report", *words)
    assert done.returncode == 2 and message in done.stderr
    assert done.stderr.strip().count("\n") == 0 and "Traceback" not in done.stderr


def test_help_names_the_key():
    done = run("-m", "codesign.report", "--help")
    assert done.returncode == 0 and "run" in done.stdout
