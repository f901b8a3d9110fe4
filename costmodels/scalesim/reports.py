"""SCALE-Sim's own reports, from full runs of every distinct shape that a design needs."""

import csv
import json
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

from costmodels.files import write_atomic
from costmodels.scalesim.count import Parallel
from costmodels.scalesim.full import REPORTS, FullRun, full_run, reported_in
from costmodels.scalesim.task import VERSION, Buffers, Task, content_key, layer_buffers, layer_task

if TYPE_CHECKING:
    from costmodels.accelerator import Accelerator
    from costmodels.engines import Placement

_Run = tuple[Task, Buffers]
INDEX_COLUMNS = ("layer", "engine", "repeats", "passes", "reported_cycles", "folder")


def report_placements(
    placements: Sequence["Placement"],
    accelerator: "Accelerator",
    folder: Path,
    name: str,
    *,
    parallel: Parallel | None = None,
) -> list[int]:
    """Run SCALE-Sim in full for layers placed on arrays, and keep its reports.

    Every distinct shape has a folder with COMPUTE_REPORT.csv, BANDWIDTH_REPORT.csv and
    DETAILED_ACCESS_REPORT.csv as SCALE-Sim writes them, and run.json, which says what was run. What
    is there already is not run again. `<name>-<key>.csv` says which layer is in which folder.

    Args:
        placements: Layers on arrays, such as `engines.array_parts` gives.
        accelerator: Gives the dataflow and the sizes of the buffers.
        folder: Where the reports go.
        name: The network's name, for the table of layers.
        parallel: As `simulate_placements`.

    Returns:
        Cycles of each layer, all repeats included, one more a product than reported.

    Raises:
        CostModelError: SCALE-Sim is not installed.
        OSError: The folder cannot be written.
    """
    runs = [
        (layer_task(p.layer, p.rows, p.cols, accelerator.dataflow), layer_buffers(p, accelerator))
        for p in placements
    ]
    reported = _run_all(list(dict.fromkeys(runs)), folder, parallel)
    rows = [
        (p.layer.name, p.engine, p.layer.repeats, p.passes, reported[run], folder_name(*run))
        for p, run in zip(placements, runs, strict=True)
    ]
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows([INDEX_COLUMNS, *rows])
    key = content_key({"table": text.getvalue()})[:12]
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", name)
    write_atomic(folder / f"{plain}-{key}.csv", text.getvalue())
    return [(reported[run] + 1) * p.layer.repeats for p, run in zip(placements, runs, strict=True)]


def folder_name(task: Task, buffers: Buffers) -> str:
    """Return the name of a run's folder: dataflow, array, product, and a key of the whole."""
    m, k, n = task.product
    key = content_key(_content(task, buffers))[:12]
    return f"{task.dataflow}_{task.rows}x{task.cols}_{m}x{k}x{n}_{key}"


def _run_all(runs: Sequence[_Run], folder: Path, parallel: Parallel | None) -> dict[_Run, int]:
    reported = {run: known for run in runs if (known := _kept(run, folder)) is not None}
    missing = [run for run in runs if run not in reported]
    for run, result in zip(missing, (parallel or map)(_full_run, missing), strict=True):
        _keep(run, result, folder)
        reported[run] = result.reported
    return reported


def _full_run(run: _Run) -> FullRun:
    return full_run(*run)


def _content(task: Task, buffers: Buffers) -> dict[str, Any]:
    return {"scalesim": VERSION, "task": asdict(task), "buffers_kb": asdict(buffers)}


def _kept(run: _Run, folder: Path) -> int | None:
    """Return the reported cycles of a run whose folder is whole, else None."""
    path = folder / folder_name(*run)
    try:
        if json.loads((path / "run.json").read_text()) != _content(*run):
            return None
        reports = [(path / name).read_text() for name in REPORTS]
        return reported_in(reports[0])
    except (OSError, ValueError):
        return None


def _keep(run: _Run, result: FullRun, folder: Path) -> None:
    """Write a run's folder, whole or not at all."""
    path = folder / folder_name(*run)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder, prefix=f".{path.name}."))
    try:
        for name, text in result.reports.items():
            (temporary / name).write_text(text)
        (temporary / "run.json").write_text(json.dumps(_content(*run), indent=1) + "\n")
        temporary.chmod(0o755)
        if path.exists():  # damaged, or `_kept` would have found it
            rmtree(path)
        os.replace(temporary, path)
    except BaseException:
        rmtree(temporary, ignore_errors=True)
        raise
