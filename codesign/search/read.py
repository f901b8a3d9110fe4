"""read_study: a run directory as plain values."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.trial import FrozenTrial, TrialState

from codesign.errors import UserError
from codesign.search.pareto import front_mask, knee, minimised, relative_hypervolume
from codesign.search.records import StudyRecord, TrialRecord
from codesign.search.rundir import RunDirectory, design_of
from codesign.search.simulations import cycles_backing
from codesign.search.study import open_storage
from costmodels.errors import CostModelError
from costmodels.gpu import DEFAULT, load_profile
from costmodels.provenance import provenance

STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.FAIL: "failed",
    TrialState.PRUNED: "refused",
    TrialState.RUNNING: "running",
}
# User attributes that are not metrics.
BOOKKEEPING = {"design_key", "reason", "label", "reuses", "retry_of", "retries", "seconds"}


def read_study(run_dir: Path) -> StudyRecord:
    """Return everything a run directory holds, with the front and its hypervolume over time.

    The front is that of the complete trials that keep every constraint; a trial that shares an
    earlier trial's design is not on it again. The hypervolume is relative
    (`pareto.relative_hypervolume`).

    Raises:
        UserError: The folder holds no study.
    """
    settings = _settings(run_dir)
    storage = open_storage(str(settings.get("storage") or ""), run_dir, create=False)
    name = settings.get("study", run_dir.name)
    if storage is None or name not in optuna.get_all_study_names(storage):
        raise UserError(f"{run_dir} holds no study yet: run the search first.")
    return record_of(optuna.load_study(study_name=name, storage=storage), run_dir)


def record_of(study: optuna.Study, run_dir: Path) -> StudyRecord:
    """Return an open study as plain values; see `read_study`."""
    attributes = study.user_attrs
    objectives = dict(attributes["settings"]["objectives"])
    files = RunDirectory(run_dir)
    frozen = [t for t in study.get_trials(deepcopy=False) if t.state in STATES]
    trials = [_trial(trial, list(objectives), files) for trial in frozen]
    reference = dict(attributes["reference_point"])
    return StudyRecord(
        name=study.study_name,
        objectives=objectives,
        trials=tuple(_mark_front(trials, objectives)),
        hypervolume=hypervolume_history(trials, objectives, reference),
        reference_point=reference,
        settings=attributes["settings"],
        teacher=attributes.get("teacher", {}),
        board=attributes.get("board", {}),
        provenance=_backing(attributes["settings"]["cost"]),
    )


def _backing(cost: Mapping[str, Any]) -> dict[str, str]:
    """Return what backs the study's metrics, from the section `cost` of its settings."""
    found = provenance(cycles_backing(cost), cost.get("fabric", "yosys"))
    with suppress(CostModelError):  # a profile of the user's that is no longer there
        found["gpu"] = load_profile(cost.get("gpu_profile", DEFAULT)).backing
    return found


def metrics_of(attributes: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics among a trial's user attributes."""
    return {
        name: float(value)
        for name, value in attributes.items()
        if name not in BOOKKEEPING and isinstance(value, int | float)
    }


def is_candidate(trial: TrialRecord) -> bool:
    """Return whether a trial may be on the front: complete, feasible, and not a repetition."""
    feasible = all(excess <= 0 for excess in trial.constraints.values())
    return trial.state == "complete" and feasible and trial.reuses is None


def objective_point(trial: TrialRecord, objectives: Mapping[str, str]) -> tuple[float, ...]:
    """Return a complete trial's objectives, to be minimised."""
    return minimised([trial.values[name] for name in objectives], list(objectives.values()))


def choose_trial(record: StudyRecord, which: str) -> TrialRecord:
    """Return the trial a user names: "knee", "best:<objective>", or a number.

    Raises:
        UserError: There is no such trial, or it has no result.
    """
    if which.isdigit():
        found = [trial for trial in record.trials if trial.number == int(which)]
        if not found or found[0].state != "complete":
            state = f"is {found[0].state} ({found[0].reason})" if found else "does not exist"
            raise UserError(f"trial {which} {state}; front: {_numbers(record)}.")
        return found[0]
    if not record.front:
        raise UserError(f"study '{record.name}' has no front yet: no trial is complete.")
    if which == "knee":
        points = [objective_point(trial, record.objectives) for trial in record.front]
        return record.front[knee(points)]
    kind, _, name = which.partition(":")
    if kind != "best" or name not in record.objectives:
        known = ", ".join(f"best:{objective}" for objective in record.objectives)
        raise UserError(f"trial={which}: give knee, a number, or one of {known}.")
    sign = -1 if record.objectives[name] == "max" else 1
    return min(record.front, key=lambda trial: sign * trial.values[name])


def hypervolume_history(
    trials: Sequence[TrialRecord],
    objectives: Mapping[str, str],
    reference: Mapping[str, float],
) -> tuple[tuple[int, float], ...]:
    """Return (trial number, relative hypervolume so far) after each complete trial."""
    corner = minimised([reference[name] for name in objectives], list(objectives.values()))
    points: list[tuple[float, ...]] = []
    history: list[tuple[int, float]] = []
    for trial in trials:
        if trial.state != "complete":
            continue
        volume = history[-1][1] if history else 0.0
        if is_candidate(trial):
            points.append(objective_point(trial, objectives))
            volume = relative_hypervolume(points, corner)
        history.append((trial.number, volume))
    return tuple(history)


def _mark_front(trials: Sequence[TrialRecord], objectives: Mapping[str, str]) -> list[TrialRecord]:
    candidates = [trial for trial in trials if is_candidate(trial)]
    points = [objective_point(trial, objectives) for trial in candidates]
    mask = front_mask(points).tolist() if points else []
    front = {trial.number for trial, on_front in zip(candidates, mask, strict=True) if on_front}
    return [replace(trial, on_front=trial.number in front) for trial in trials]


def _trial(trial: FrozenTrial, objectives: list[str], files: RunDirectory) -> TrialRecord:
    attributes = trial.user_attrs
    complete = trial.state == TrialState.COMPLETE
    stored = files.read_design(trial.number)
    return TrialRecord(
        number=trial.number,
        state=STATES[trial.state],
        values=dict(zip(objectives, trial.values, strict=True)) if complete else {},
        metrics=metrics_of({**attributes, **stored.get("front", {})}),
        constraints=dict(trial.constraints),
        design=design_of(stored),
        reason=attributes.get("reason"),
        label=attributes.get("label"),
        reuses=attributes.get("reuses"),
        seconds=float(attributes.get("seconds", 0.0)),
    )


def _settings(run_dir: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load((run_dir / "settings.yaml").read_text())
    except OSError as error:
        raise UserError(f"{run_dir} is no run directory: it has no settings.yaml.") from error
    except yaml.YAMLError as error:
        raise UserError(f"{run_dir / 'settings.yaml'} is damaged: not readable YAML.") from error
    if not isinstance(content, dict):
        raise UserError(f"{run_dir / 'settings.yaml'} is damaged: it holds no settings.")
    return content


def _numbers(record: StudyRecord) -> str:
    return ", ".join(str(trial.number) for trial in record.front) or "none"
