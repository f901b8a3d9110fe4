"""run_search: a whole search, from settings to the report."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.trial import TrialState
from rich.console import Console

from codesign.errors import RunError, UserError
from codesign.search import dashboard, summary
from codesign.search.driver import Driver
from codesign.search.executors import EXECUTORS, Executor, Resources
from codesign.search.finish import keep_reports, measure_front
from codesign.search.lock import locked
from codesign.search.problem import Problem
from codesign.search.progress import Progress
from codesign.search.read import record_of
from codesign.search.records import StudyRecord
from codesign.search.rundir import LOGGER, RunDirectory
from codesign.search.sensitivities import write_sensitivities
from codesign.search.simulations import parallel
from codesign.search.study import create_study, find_study, repair
from codesign.search.survey import survey
from codesign.settings import SearchSettings
from codesign.space import SearchSpace, check_functions
from costmodels.board import load_board, load_gpu
from costmodels.errors import CostModelError
from costmodels.gpu import load_profile


@dataclass(frozen=True)
class ProblemSource:
    """Where problems come from.

    Attributes:
        prepare: Does once, in the driver, what every worker needs (trains the teacher).
        load: Builds a problem; picklable, called in the driver and in each worker.
    """

    prepare: Callable[[SearchSettings, Console], None]
    load: Callable[[SearchSettings], Problem]


def evaluator_source() -> ProblemSource:
    """Return the source of real problems: the timm model, the data, the cost models."""
    from codesign.search import evaluator

    return ProblemSource(evaluator.prepare, evaluator.load_problem)


def run_search(
    settings: SearchSettings,
    source: ProblemSource | None = None,
    console: Console | None = None,
) -> int:
    """Run or continue a search until its trials are complete, and write its results.

    Args:
        settings: Checked settings, of `load_settings`.
        source: Where problems come from; None for the real ones.
        console: Where progress goes; None for standard output.

    Returns:
        The exit code: 0 done, 130 stopped by a first Ctrl-C or SIGTERM with everything saved.

    Raises:
        UserError: The settings do not fit the study, the network or the machine, another search
            holds the study, or the run directory cannot be written.
        RunError: The search cannot go on.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    console = console or Console()
    if source is None:
        check_functions(settings.network.activations.choices)
    _check_hardware(settings)
    search = _Search(settings, source or evaluator_source(), console)
    with locked(settings.run_dir):
        try:
            return search.run()
        except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            cause = error.__cause__ or error
            reason = " ".join(str(getattr(cause, "orig", None) or cause).split())
            raise UserError(
                f"the study in {settings.run_dir} cannot be written: {reason}"
            ) from error
        finally:
            search.close()


def _check_hardware(settings: SearchSettings) -> None:
    """Check that the board and the GPUs exist, before anything is trained."""
    try:
        load_board(settings.hardware.board)
        for name in settings.cost.gpus:
            load_gpu(name)
        load_profile(settings.cost.gpu_profile)
    except CostModelError as error:
        raise UserError(str(error)) from error


class _Search:
    """The steps of `run_search`, and what must be closed after them."""

    def __init__(self, settings: SearchSettings, source: ProblemSource, console: Console) -> None:
        self._settings = settings
        self._source = source
        self._console = console
        self._files = RunDirectory(settings.run_dir)
        self._progress = Progress(console)
        self._executor: Executor | None = None
        self._problem: Problem | None = None
        self._log: Any = None

    def run(self) -> int:
        study = find_study(self._settings)
        if study is not None and self._finished(study):
            return self._finish(study)
        self._source.prepare(self._settings, self._console)
        self._executor = EXECUTORS.get(self._settings.executor)(
            partial(self._source.load, self._settings)
            if self._settings.executor != "serial"
            else self._load,
            Resources.of(self._settings),
        )
        space = SearchSpace(self._settings, self._load().outline)
        study = study or self._create(space)
        self._open_log()
        self._files.write_settings(self._settings.to_json())
        if left := repair(study):
            self._progress.say(f"queued again, left running by a killed search: {left}")
        if self._settings.quantize.sensitivities:
            write_sensitivities(self._load(), space, self._files, self._progress)
        return self._drive(study, space, self._executor)

    def close(self) -> None:
        """Stop the workers and close the log."""
        if self._executor is not None:
            self._executor.close()
        if self._log is not None:
            LOGGER.removeHandler(self._log)
            self._log.close()

    def _finished(self, study: optuna.Study) -> bool:
        states = [trial.state for trial in study.get_trials(deepcopy=False)]
        running = TrialState.RUNNING in states
        return not running and states.count(TrialState.COMPLETE) >= self._settings.trials

    def _load(self) -> Problem:
        """Return the driver's own problem."""
        if self._problem is None:
            self._problem = self._source.load(self._settings)
        return self._problem

    def _open_log(self) -> None:
        if self._log is None:
            self._log = self._files.open_log()

    def _create(self, space: SearchSpace) -> optuna.Study:
        problem = self._load()
        attributes = {
            "reference_point": survey(self._settings, space, problem),
            "teacher": dict(problem.teacher),
            "board": dict(load_board(self._settings.hardware.board).limits),
            "genes": len(space.genes),
            "log10_size": round(space.log10_size, 1),
        }
        study = create_study(self._settings, attributes)
        self._say_beginning(study, space)
        return study

    def _say_beginning(self, study: optuna.Study, space: SearchSpace) -> None:
        s = self._settings
        text = f"{s.model.name} on {s.data.name} and {s.hardware.board}: {len(space.genes)} genes, "
        text += f"10^{space.log10_size:.0f} designs"
        self._progress.say(text)
        note = f"{text}.\n\nSee *User-defined plots* for the Pareto front and the hypervolume."
        dashboard.describe_study(study, note)

    def _drive(self, study: optuna.Study, space: SearchSpace, executor: Executor) -> int:
        driver = Driver(
            self._settings, study, space, self._load(), executor, self._files, self._progress
        )
        driver.enqueue_baselines()
        try:
            done = driver.run()
        except (KeyboardInterrupt, RunError):
            self._save(study)
            raise
        executor.close()
        self._executor = None
        if done:
            return self._finish(study)
        self._save(study)
        self._progress.say(
            f"stopped with {self._progress.counts.complete} of {self._settings.trials} trials "
            f"complete, all saved in {self._files.path}: the same command goes on from here"
        )
        return 130

    def _save(self, study: optuna.Study) -> StudyRecord:
        """Write what is known of the front now."""
        record = record_of(study, self._files.path)
        summary.write_summary(self._files, record)
        return record

    def _finish(self, study: optuna.Study) -> int:
        """Measure the front, and write and show the results."""
        self._open_log()
        record = record_of(study, self._files.path)
        cache = Path(self._settings.runs_dir) / ".cache" / "scalesim"
        if measure_front(record, self._load, self._files, self._progress, cache):
            record = record_of(study, self._files.path)
        if self._settings.cost.reports:
            self._keep_reports(record)
        summary.write_summary(self._files, record)
        dashboard.publish_figures(study, record)
        summary.print_table(self._console, record)
        paths = self._report(record)
        names = ", ".join(["pareto.csv", "summary.json", *(path.name for path in paths)])
        self._progress.say(f"results in {self._files.path}: {names}; next:")
        for command in summary.next_commands(self._files.path, self._settings.storage):
            self._progress.say(f"  {command}")
        return 0

    def _keep_reports(self, record: StudyRecord) -> None:
        folder = Path(self._settings.cost.reports)
        keep_reports(record, self._load, self._progress, folder, parallel(self._settings))

    def _report(self, record: StudyRecord) -> list[Path]:
        if not self._settings.report:
            return []
        from codesign.report import write_report

        return write_report(record, self._files.path)
