"""What is measured of the front alone, after the last trial: test accuracy and SCALE-Sim."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from codesign.design import Design
from codesign.errors import UserError
from codesign.search.problem import Problem
from codesign.search.progress import Progress
from codesign.search.records import StudyRecord
from codesign.search.rundir import RunDirectory
from codesign.search.simulations import report_design
from costmodels.batch import batched
from costmodels.board import load_board
from costmodels.engines import array_parts, place
from costmodels.scalesim import Parallel, simulate_layer
from costmodels.systolic import cycles as closed_form

SIMULATED = "fpga.scalesim_cycles"
DIFFERING = "fpga.scalesim_differing_layers"


def measure_front(
    record: StudyRecord,
    load: Callable[[], Problem],
    files: RunDirectory,
    progress: Progress,
    cache_dir: Path,
) -> bool:
    """Measure the test accuracy of each design of the front, and simulate its arrays.

    The results are kept in the trial's design file, so they are measured once.

    Args:
        record: The study.
        load: Returns the problem; called only if something is to be measured.
        files: The run directory.
        progress: Shows what happens.
        cache_dir: Where SCALE-Sim's results are kept.

    Returns:
        Whether anything was measured.
    """
    missing = [t for t in record.front if "test_accuracy" not in t.metrics and t.design]
    if not missing:
        return False
    progress.say(f"front of {len(missing)} designs: test accuracy, SCALE-Sim")
    different = 0.0
    for trial in missing:
        assert trial.design is not None
        with _one_thread():
            accuracy = load().test_accuracy(files.model_file(trial.number).read_bytes())
        simulated = simulate(load(), trial.design, cache_dir, batch_of(record))
        different += simulated[DIFFERING]
        stored = files.read_design(trial.number)
        stored["front"] = {"test_accuracy": accuracy, **simulated}
        files.write_json(files.design_file(trial.number), stored)
    verdict = (
        f"differ from the closed forms in {different:g} layers"
        if different
        else ("equal the closed forms in every layer")
    )
    progress.say(f"SCALE-Sim's cycles {verdict}")
    return True


def keep_reports(
    record: StudyRecord,
    load: Callable[[], Problem],
    progress: Progress,
    folder: Path,
    parallel: Parallel | None,
) -> None:
    """Run SCALE-Sim in full for the arrays of each design of the front, and keep its reports.

    What is in the folder already is not run again, so an interrupted run goes on from there.

    Args:
        record: The study.
        load: Returns the problem.
        progress: Shows what happens.
        folder: Where the reports go (`costmodels.scalesim.report_placements`).
        parallel: Runs simulations in other processes; None runs them in this one.

    Raises:
        UserError: The folder cannot be written.
    """
    designs = [(trial.number, trial.design) for trial in record.front if trial.design]
    progress.say(
        f"SCALE-Sim in full for {len(designs)} designs, seconds to minutes a layer: {folder}"
    )
    for number, design in designs:
        try:
            workload = load().workload(design)
            cycles = report_design(workload, design, folder, parallel, batch_of(record))
        except OSError as error:
            raise UserError(f"cost.reports={folder} cannot be written: {error}") from error
        progress.say(f"trial {number}: {cycles} array cycles by SCALE-Sim in full")


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch to one thread: on a shared machine, two that wait for each other spin."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def batch_of(record: StudyRecord) -> int:
    """Return how many images a study's prices are for; older studies do not say, and mean one."""
    return int(record.settings.get("cost", {}).get("batch", 1))


def simulate(problem: Problem, design: Design, cache_dir: Path, batch: int = 1) -> dict[str, float]:
    """Return SCALE-Sim's compute cycles of a design's arrays, and how many layers differ.

    Layers are simulated whole, one after another, also where the design fuses them into chains.

    Each distinct product is simulated once and kept in `cache_dir`.

    Returns:
        "fpga.scalesim_cycles": cycles of all layers on the MAC and shift arrays;
        "fpga.scalesim_differing_layers": layers whose cycles are not those of the closed form.
    """
    accelerator = design.accelerator
    dataflow = accelerator.dataflow
    images = batched(problem.workload(design), batch)
    placements, _ = place(images, accelerator, load_board(accelerator.board).dsp_type)
    total, differing = 0, 0
    for placed in array_parts(placements):
        layer, rows, cols = placed.layer, placed.rows, placed.cols
        cycles = simulate_layer(layer, rows, cols, dataflow, cache_dir)
        closed = closed_form(layer.m, layer.k, layer.n, rows, cols, dataflow) * layer.repeats
        total += cycles * placed.passes
        differing += cycles != int(closed)
    return {SIMULATED: float(total), DIFFERING: float(differing)}
