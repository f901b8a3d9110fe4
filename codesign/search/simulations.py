"""Simulations of arrays for a search: the cycle model its settings name, in parallel by Ray."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from codesign.design import Design
from codesign.search.executors.base import Resources
from codesign.settings import SearchSettings
from costmodels.batch import batched
from costmodels.board import load_board
from costmodels.cycles import CycleModel
from costmodels.engines import array_parts, place
from costmodels.scalesim import Parallel
from costmodels.workload import Workload


def cycle_model(settings: SearchSettings) -> CycleModel:
    """Return what prices the cycles of a search's designs."""
    cost = settings.cost
    return CycleModel(
        cost.cycles,
        drain=cost.drain,
        overlap=cost.overlap,
        cache_dir=Path(settings.runs_dir) / ".cache" / "scalesim",
        parallel=parallel(settings) if cost.cycles == "scalesim" else None,
    )


def cycles_backing(cost: Mapping[str, Any]) -> str:
    """Return what backs the cycles of a study, from the section `cost` of its settings."""
    options = {name: cost[name] for name in ("drain", "overlap") if name in cost}
    return CycleModel(cost["cycles"], **options).backing


def parallel(settings: SearchSettings) -> Parallel | None:
    """Return what maps a function over simulations by Ray, or None for a serial search."""
    if settings.executor != "ray":
        return None
    resources = Resources.of(settings)

    def by_ray(function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        return _map_by_ray(function, items, resources)

    return by_ray


def _map_by_ray(
    function: Callable[[Any], Any], items: Sequence[Any], resources: Resources
) -> Iterator[Any]:
    """Yield the function of every item in order; starts a local Ray where none runs, and ends it.

    The tasks ask for no core: while a search runs, its workers hold them all.
    """
    import ray

    from codesign.search.executors.ray import start_ray

    own = not ray.is_initialized()
    if own:
        start_ray(resources)
    try:
        remote = ray.remote(num_cpus=0)(function)
        width = resources.workers or len(os.sched_getaffinity(0))
        flying: deque[Any] = deque()
        for item in items:
            flying.append(remote.remote(item))
            if len(flying) >= width:
                yield ray.get(flying.popleft())
        while flying:
            yield ray.get(flying.popleft())
    finally:
        if own:
            ray.shutdown()


def report_design(
    workload: Workload, design: Design, folder: Path, parallel: Parallel | None, batch: int = 1
) -> int:
    """Keep SCALE-Sim's reports of full runs of every array layer of a design; return its cycles.

    Raises:
        OSError: The folder cannot be written.
    """
    from costmodels.scalesim import report_placements

    accelerator = design.accelerator
    board, images = load_board(accelerator.board), batched(workload, batch)
    placements, _ = place(images, accelerator, board.dsp_type)
    parts = array_parts(placements)
    cycles = report_placements(parts, accelerator, folder, workload.name, parallel=parallel)
    return sum(c * part.passes for c, part in zip(cycles, parts, strict=True))
