"""Cycles by SCALE-Sim: of one task, of many at once, of placed layers; kept in a cache on disk."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from costmodels.cache import read_entry, write_entry
from costmodels.errors import CostModelError
from costmodels.scalesim.compute_model import demand_elements, reported_by_folds
from costmodels.scalesim.full import full_run
from costmodels.scalesim.task import Task, layer_task
from costmodels.systolic import DATAFLOWS
from costmodels.workload import MatrixLayer

if TYPE_CHECKING:
    from costmodels.engines import Placement

Parallel = Callable[[Callable[[Any], Any], Sequence[Any]], Iterator[Any]]
# About 3 s of the compute model; below that, other processes only add their own start.
WORTH_SHARING = 30_000_000
REMEMBERED = 1 << 16

_memory: dict[tuple[Task, Path | None], int] = {}


def simulate(task: Task, cache_dir: Path | None = None, *, full: bool = False) -> int:
    """Return the cycles SCALE-Sim reports for the task, total less stall: one less than they are.

    Args:
        task: What to simulate.
        cache_dir: Folder of cached results, one JSON file each; None simulates anew. A file that
            is not what this function writes is replaced.
        full: Run the whole of SCALE-Sim, memories included, as its command line does, instead of
            its compute model fold by fold.

    Raises:
        CostModelError: SCALE-Sim is not installed, or the task has an unknown dataflow.
    """
    _check(task)
    known = _cached(task, cache_dir)
    if known is not None:
        return known
    return _filed(task, full_run(task).reported if full else reported_by_folds(task), cache_dir)


def simulate_layer(
    layer: MatrixLayer, rows: int, cols: int, dataflow: str, cache_dir: Path | None = None
) -> int:
    """Return the cycles of all of the layer's products on a rows x cols array, by SCALE-Sim.

    Each product takes one cycle more than SCALE-Sim reports, which is the index of the last one
    (SCALE-Sim's GitHub issue 125). Picklable, for use in worker processes; errors as `simulate`.
    """
    return (_remembered(layer_task(layer, rows, cols, dataflow), cache_dir) + 1) * layer.repeats


def simulate_placements(
    placements: Sequence["Placement"],
    dataflow: str,
    *,
    cache_dir: Path | None = None,
    parallel: Parallel | None = None,
) -> list[int]:
    """Return the cycles of layers placed on arrays, all repeats included, each shape run once.

    Args:
        placements: Layers on arrays, such as `engines.array_parts` gives.
        dataflow: "os", "ws" or "is".
        cache_dir: Folder of cached results; None keeps none.
        parallel: Maps a function over tasks in other processes, results in order; used where there
            is enough to simulate. None simulates in this process.

    Raises:
        CostModelError: As `simulate`.
    """
    tasks = [layer_task(p.layer, p.rows, p.cols, dataflow) for p in placements]
    reported = simulate_all(tasks, cache_dir, parallel)
    return [
        (reported[task] + 1) * p.layer.repeats for task, p in zip(tasks, placements, strict=True)
    ]


def simulate_all(
    tasks: Sequence[Task], cache_dir: Path | None = None, parallel: Parallel | None = None
) -> dict[Task, int]:
    """Return what SCALE-Sim reports for each distinct task; arguments and errors as above."""
    distinct = list(dict.fromkeys(tasks))
    missing = [task for task in distinct if (task, cache_dir) not in _memory]
    for task in missing:
        _check(task)
    if parallel is not None:
        missing = [task for task in missing if _cached(task, cache_dir) is None]
        if sum(demand_elements(task) for task in missing) > WORTH_SHARING:
            for task, reported in zip(missing, parallel(reported_by_folds, missing), strict=True):
                _remember(task, cache_dir, _filed(task, reported, cache_dir))
    return {task: _remembered(task, cache_dir) for task in distinct}


def _remembered(task: Task, cache_dir: Path | None) -> int:
    known = _memory.get((task, cache_dir))
    return _remember(task, cache_dir, simulate(task, cache_dir)) if known is None else known


def _remember(task: Task, cache_dir: Path | None, reported: int) -> int:
    if len(_memory) >= REMEMBERED:
        _memory.clear()
    _memory[task, cache_dir] = reported
    return reported


def _check(task: Task) -> None:
    if task.dataflow not in DATAFLOWS:
        raise CostModelError(f"unknown dataflow '{task.dataflow}'. Known: {', '.join(DATAFLOWS)}.")


def _path(task: Task, cache_dir: Path) -> Path:
    return Path(cache_dir) / f"{task.key}.json"


def _cached(task: Task, cache_dir: Path | None) -> int | None:
    return read_entry(_path(task, cache_dir), asdict(task)) if cache_dir is not None else None


def _filed(task: Task, reported: int, cache_dir: Path | None) -> int:
    if cache_dir is not None:
        write_entry(_path(task, cache_dir), asdict(task), reported)
    return reported
