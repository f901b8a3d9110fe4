"""Driver: asks the study for designs, has them evaluated, and tells the study what came out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.trial import Trial, TrialState

from codesign.design import Design
from codesign.errors import RunError
from codesign.limits import parse_limits
from codesign.search.dashboard import publish_figures
from codesign.search.executors import Executor, Outcome
from codesign.search.executors.base import describe_error
from codesign.search.pareto import front_mask, minimised, relative_hypervolume
from codesign.search.problem import Problem
from codesign.search.progress import Progress
from codesign.search.read import is_candidate, metrics_of, objective_point, record_of
from codesign.search.rundir import RunDirectory
from codesign.search.samplers import make_sampler
from codesign.search.signals import StopRequest
from codesign.search.study import requeue
from codesign.search.suggest import Suggester
from codesign.search.tell import Teller, UnusableResultError
from codesign.settings import SearchSettings
from codesign.space import SearchSpace
from costmodels.estimate import Cost

MAX_FAILURES = 10
MAX_REFUSALS = 500
GRACE_S = 60.0  # how long trials in flight may take to end after a first Ctrl-C
FIGURES_EVERY = 10


@dataclass
class Flight:
    """A trial being evaluated, and later trials that wait for the same design."""

    trial: Trial
    design: Design
    cost: Cost
    followers: list[Trial] = field(default_factory=list)


class Driver:
    """One run of a search on an open study. Only it touches the study.

    Args:
        settings: The settings.
        study: The study, without running trials.
        space: The search space.
        problem: Prices the designs.
        executor: Evaluates them.
        files: The run directory.
        progress: Shows what happens.
    """

    def __init__(
        self,
        settings: SearchSettings,
        study: optuna.Study,
        space: SearchSpace,
        problem: Problem,
        executor: Executor,
        files: RunDirectory,
        progress: Progress,
    ) -> None:
        self._objectives = settings.objectives
        self._study = study
        self._space = space
        self._problem = problem
        self._executor = executor
        self._files = files
        self._progress = progress
        self._limits = parse_limits(settings.constraints)
        sampler = make_sampler(
            settings.sampler, settings.seed, len(study.get_trials(deepcopy=False))
        )
        self._suggester = Suggester(study, sampler, space.distributions, settings.seed)
        self._teller = Teller(study, self._suggester, files, settings.objectives, self._limits)
        self._flights: dict[int, Flight] = {}
        self._results: dict[str, tuple[int, dict[str, float]]] = {}
        self._points: list[tuple[float, ...]] = []
        self._failures_in_a_row = 0
        self._refusals_in_a_row = 0
        self._load_earlier_trials(settings.trials)

    def enqueue_baselines(self) -> None:
        """Queue the hand-made designs that the study does not have yet."""
        for label, design in self._space.baselines():
            self._study.enqueue_trial(
                self._space.encode(design), user_attrs={"label": label}, skip_if_exists=True
            )

    def run(self) -> bool:
        """Search until the wanted trials are complete.

        Returns:
            True when they are; False after a first Ctrl-C or SIGTERM.

        Raises:
            RunError: Too many failures or refusals in a row, or the workers cannot start.
            KeyboardInterrupt: A second signal came. In every case the trials in flight are failed
                and their designs queued again.
        """
        with StopRequest(self._announce_stop) as stop, self._progress:
            try:
                self._loop(stop)
            except (KeyboardInterrupt, RunError):
                self._abandon()
                raise
            self._abandon()
        return not stop

    def _loop(self, stop: StopRequest) -> None:
        while stop.seconds < GRACE_S:
            if not stop:
                self._fill(stop)
            if not self._flights and (stop or self._missing <= 0):
                return
            for outcome in self._executor.wait(1.0):
                self._land(outcome)
            self._show()

    @property
    def _missing(self) -> int:
        """Trials still to be started for the wanted number to be complete."""
        flying = sum(1 + len(flight.followers) for flight in self._flights.values())
        return self._progress.counts.wanted - self._progress.counts.complete - flying

    def _fill(self, stop: StopRequest) -> None:
        """Start trials until the executor is full."""
        while self._executor.free and self._missing > 0 and not stop:
            trial = self._suggester.ask(self._is_new)
            design = self._space.decode(trial.params)
            if not self._known(trial, design):
                self._start(trial, design)
            self._show()

    def _is_new(self, params: Mapping[str, Any]) -> bool:
        design = self._space.decode(params)
        flying = any(flight.design == design for flight in self._flights.values())
        return not flying and design.key not in self._results

    def _known(self, trial: Trial, design: Design) -> bool:
        """Answer a trial from one with the same design, or let it wait for that one's result."""
        for flight in self._flights.values():
            if flight.design == design:
                flight.followers.append(trial)
                return True
        if design.key not in self._results:
            return False
        first, metrics = self._results[design.key]
        self._repeat(trial, design, first, metrics)
        return True

    def _repeat(
        self, trial: Trial, design: Design, first: int, metrics: Mapping[str, float]
    ) -> None:
        self._teller.repeat(trial, design, first, metrics)
        self._progress.counts.complete += 1
        self._progress.say(f"trial {trial.number}: same design as trial {first}")

    def _start(self, trial: Trial, design: Design) -> None:
        """Price a design and submit it, unless it is over a hard limit."""
        try:
            cost = self._problem.price(design)
        except Exception as error:
            self._fail(trial, f"pricing failed: {describe_error(error)}")
            return
        broken = [
            limit
            for limit in self._limits
            if limit.metric in cost.metrics and limit.excess(cost.metrics[limit.metric]) > 0
        ]
        if broken:
            self._count_refusal(self._teller.refuse(trial, design, cost, broken), trial)
            return
        self._refusals_in_a_row = 0
        self._flights[trial.number] = Flight(trial, design, cost)
        self._executor.submit(trial.number, design)

    def _count_refusal(self, reason: str, trial: Trial) -> None:
        self._progress.counts.refused += 1
        self._progress.say(f"trial {trial.number}: refused, {reason}", style="dim")
        self._refusals_in_a_row += 1
        if self._refusals_in_a_row >= MAX_REFUSALS:
            raise RunError(
                f"{MAX_REFUSALS} designs in a row break the constraints (the last: {reason}): "
                "loosen constraints, take a larger hardware.board, or offer smaller accelerators."
            )

    def _land(self, outcome: Outcome) -> None:
        """Take in a trial that ended."""
        flight = self._flights.pop(outcome.number)
        if outcome.evaluation is None:
            self._fail_flight(flight, outcome.error or "no reason given")
            return
        try:
            metrics = self._teller.complete(flight.trial, flight.design, flight.cost, outcome)
        except UnusableResultError as error:
            self._fail_flight(flight, str(error))
            return
        self._complete(flight, metrics, outcome.seconds)

    def _complete(self, flight: Flight, metrics: dict[str, float], seconds: float) -> None:
        number = flight.trial.number
        self._failures_in_a_row = 0
        self._results[flight.design.key] = (number, metrics)
        excesses = [limit.excess(metrics[limit.metric]) for limit in self._limits]
        feasible = all(excess <= 0 for excess in excesses)
        if feasible:
            values = [metrics[name] for name in self._objectives]
            self._points.append(minimised(values, list(self._objectives.values())))
        self._progress.counts.complete += 1
        self._update_front()
        shown = "  ".join(f"{name} {metrics[name]:.5g}" for name in self._objectives)
        remark = "" if feasible else "  infeasible"
        self._progress.say(f"trial {number}: {shown}  ({seconds:.1f} s){remark}")
        for follower in flight.followers:
            self._repeat(follower, flight.design, number, metrics)
        if self._progress.counts.complete % FIGURES_EVERY == 0:
            publish_figures(self._study, record_of(self._study, self._files.path))

    def _fail_flight(self, flight: Flight, reason: str) -> None:
        for trial in (flight.trial, *flight.followers):
            self._fail(trial, reason)

    def _fail(self, trial: Trial, reason: str) -> None:
        self._teller.fail(trial, reason)
        self._progress.counts.failed += 1
        self._progress.say(f"trial {trial.number}: failed, {reason}", style="red")
        self._failures_in_a_row += 1
        if self._failures_in_a_row >= MAX_FAILURES:
            raise RunError(f"{MAX_FAILURES} trials failed in a row, the last because: {reason}")

    def _abandon(self) -> None:
        """Fail the trials in flight and queue their designs again."""
        for flight in self._flights.values():
            for trial in (flight.trial, *flight.followers):
                requeue(self._study, trial, "the search was stopped while it ran")
        self._flights = {}

    def _load_earlier_trials(self, wanted: int) -> None:
        record = record_of(self._study, self._files.path)
        counts = self._progress.counts
        counts.wanted = wanted
        for trial in record.trials:
            counts.complete += trial.state == "complete"
            counts.failed += trial.state == "failed"
            counts.refused += trial.state == "refused"
            if is_candidate(trial):
                self._points.append(objective_point(trial, self._objectives))
        for frozen in self._study.get_trials(deepcopy=False, states=[TrialState.COMPLETE]):
            first = (frozen.number, metrics_of(frozen.user_attrs))
            self._results.setdefault(frozen.user_attrs["design_key"], first)
        self._corner = minimised(
            [record.reference_point[name] for name in self._objectives],
            list(self._objectives.values()),
        )
        self._update_front()

    def _update_front(self) -> None:
        counts = self._progress.counts
        counts.front = int(front_mask(self._points).sum()) if self._points else 0
        counts.hypervolume = relative_hypervolume(self._points, self._corner)

    def _show(self) -> None:
        self._progress.counts.busy = self._executor.busy
        self._progress.update()

    def _announce_stop(self) -> None:
        self._progress.say(
            "stopping: the trials in flight end first (Ctrl-C again to stop at once)",
            style="yellow",
        )
