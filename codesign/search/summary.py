"""What a search leaves for people: the table at its end, pareto.csv, summary.json."""

from collections import Counter
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from codesign.search.read import choose_trial
from codesign.search.records import StudyRecord, TrialRecord
from codesign.search.rundir import RunDirectory
from codesign.search.study import DATABASE

EXTRA_COLUMNS = (
    "test_accuracy",
    "model.mean_weight_bits",
    "model.size_kb",
    "fpga.lut_pct",
    "fpga.bram_pct",
    "fpga.energy_mj",
)
UNITS = {"ms": "ms", "pct": "%", "kb": "kB", "mb": "MB", "mj": "mJ", "s": "s"}


def unit(metric: str) -> str:
    """Return the unit of a metric, which ends its name; accuracies are shown in percent."""
    last = metric.split(".")[-1]
    return "%" if "accuracy" in last else UNITS.get(last.rpartition("_")[2], "")


def show(metric: str, value: float | None) -> str:
    """Return a metric's value as people read it, in `unit(metric)`."""
    if value is None:
        return "-"
    if "accuracy" in metric.split(".")[-1]:
        return f"{100 * value:.2f}"
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.4g}"


def print_table(console: Console, record: StudyRecord) -> None:
    """Print the front, best first in the first objective, with as many metrics as fit."""
    extras = [n for n in EXTRA_COLUMNS if n not in record.objectives and _any_has(record, n)]
    table = _table(record, [*record.objectives, *extras])
    unlimited = console.options.update(max_width=1000)
    while extras and console.measure(table, options=unlimited).maximum > console.width:
        extras.pop()
        table = _table(record, [*record.objectives, *extras])
    console.print(Text(f"Pareto front of {record.name}", style="bold"))
    console.print(table)


def _table(record: StudyRecord, columns: list[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("trial", justify="right")
    named = Counter(name.rpartition(".")[2] for name in columns)
    for name in columns:
        alone = named[name.rpartition(".")[2]] == 1
        table.add_column(_heading(name, whole=not alone), justify="right")
    table.add_column("")
    special = choose_trial(record, "knee").number if record.front else -1
    for trial in sorted_front(record):
        label = (trial.label or "").replace(", ", ",\n")  # narrow, to leave room for metrics
        remarks = ["knee" if trial.number == special else "", label]
        cells = [show(name, _value(trial, name)) for name in columns]
        table.add_row(str(trial.number), *cells, "\n".join(filter(None, remarks)))
    return table


def _heading(metric: str, *, whole: bool) -> str:
    """Return a metric's name on narrow lines, its unit on the last.

    Args:
        metric: The metric.
        whole: Whether "fpga" and the like are part of it, as another metric is called the same.
    """
    words = (metric if whole else metric.rpartition(".")[2]).replace(".", "_").split("_")
    if words[-1] in UNITS:
        words.pop()
    return "\n".join([*words, unit(metric)])


def sorted_front(record: StudyRecord) -> list[TrialRecord]:
    """Return the front, best first in the first objective."""
    name, direction = next(iter(record.objectives.items()))
    return sorted(record.front, key=lambda t: t.values[name], reverse=direction == "max")


def write_summary(files: RunDirectory, record: StudyRecord) -> None:
    """Write pareto.csv (the front, every metric) and summary.json."""
    front = sorted_front(record)
    metrics = sorted({name for trial in front for name in trial.metrics} - set(record.objectives))
    columns = ["trial", "label", *record.objectives, *metrics]
    rows = [[t.number, t.label or "", *(_value(t, name) for name in columns[2:])] for t in front]
    files.write_table(files.path / "pareto.csv", columns, rows)
    files.write_json(files.path / "summary.json", summary(record))


def summary(record: StudyRecord) -> dict[str, Any]:
    """Return the outcome of a study as JSON-able values."""
    states = Counter(trial.state for trial in record.trials)
    front = sorted_front(record)
    return {
        "study": record.name,
        "trials": dict(states),
        "objectives": dict(record.objectives),
        "teacher": dict(record.teacher),
        "reference_point": dict(record.reference_point),
        "hypervolume": record.hypervolume[-1][1] if record.hypervolume else 0.0,
        "knee": choose_trial(record, "knee").number if front else None,
        "best": {name: choose_trial(record, f"best:{name}").number for name in record.objectives}
        if front
        else {},
        "front": [
            {"trial": t.number, "label": t.label, "values": t.values, "metrics": t.metrics}
            for t in front
        ],
        "failed": {t.number: t.reason for t in record.trials if t.state == "failed"},
        "refused": {t.number: t.reason for t in record.trials if t.state == "refused"},
    }


def next_commands(run_dir: Path, storage: str) -> list[str]:
    """Return the commands that look at the study and export a design."""
    url = storage or f"sqlite:///{run_dir / DATABASE}"
    target = url.removeprefix("journal:")
    return [
        f"optuna-dashboard {target} --artifact-dir {run_dir / 'artifacts'}",
        f"python -m codesign.export run={run_dir} trial=knee",
    ]


def _any_has(record: StudyRecord, name: str) -> bool:
    return any(name in trial.metrics for trial in record.front)


def _value(trial: TrialRecord, name: str) -> float | None:
    return trial.values.get(name, trial.metrics.get(name))
