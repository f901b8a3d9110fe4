"""What is measured of the front alone, after the last trial: test accuracy and SCALE-Sim."""

from collections.abc import Callable

from codesign.search.problem import Problem
from codesign.search.progress import Progress
from codesign.search.records import StudyRecord, TrialRecord
from codesign.search.rundir import RunDirectory
from codesign.settings import SearchSettings


def measure_front(
    settings: SearchSettings,
    record: StudyRecord,
    load: Callable[[], Problem],
    files: RunDirectory,
    progress: Progress,
) -> bool:
    """Measure the test accuracy of each design of the front, and simulate its arrays.

    The results are kept in the trial's design file, so they are measured once.

    Returns:
        Whether anything was measured.
    """
    missing = [trial for trial in record.front if "test_accuracy" not in trial.metrics]
    if missing:
        progress.say(f"test accuracy of {len(missing)} designs of the front")
    for trial in missing:
        model = files.model_file(trial.number).read_bytes()
        _keep(files, trial, {"test_accuracy": load().test_accuracy(model)})
    return bool(missing)


def _keep(files: RunDirectory, trial: TrialRecord, measured: dict[str, float]) -> None:
    """Add metrics to what is kept of a trial of the front."""
    stored = files.read_design(trial.number)
    stored["front"] = {**stored.get("front", {}), **measured}
    files.write_json(files.design_file(trial.number), stored)
