"""How the report sorts the trials of a study: front, dominated, infeasible, refused, baseline."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from codesign.search.records import StudyRecord, TrialRecord

FRONT, DOMINATED, INFEASIBLE, REFUSED = "front", "dominated", "infeasible", "refused"


def kind(trial: TrialRecord) -> str | None:
    """Return what a trial is drawn as, or None where it has no figures (failed, running)."""
    if trial.state == "refused":
        return REFUSED
    if trial.state != "complete":
        return None
    if any(excess > 0 for excess in trial.constraints.values()):
        return INFEASIBLE
    return FRONT if trial.on_front else DOMINATED


def value(trial: TrialRecord, metric: str) -> float | None:
    """Return an objective or metric of a trial, or None where it was not measured."""
    found = trial.values.get(metric, trial.metrics.get(metric))
    return found if found is not None and abs(found) < float("inf") else None


@dataclass(frozen=True)
class Panel:
    """One scatter plot: two metrics, and the one that colours the points.

    Attributes:
        x: Metric along x, or None for the trial's number.
        y: Metric along y.
        colour: Metric of the colour, or None.
    """

    x: str | None
    y: str
    colour: str | None


def panels(objectives: Mapping[str, str]) -> list[Panel]:
    """Return a panel for every pair of objectives, coloured by the first that is not in it."""
    names = list(objectives)
    if len(names) == 1:
        return [Panel(None, names[0], None)]
    pairs = []
    for first, second in combinations(names, 2):
        others = [name for name in names if name not in (first, second)]
        # what is maximised goes up: cost along x, accuracy along y
        x, y = (second, first) if objectives[first] == "max" else (first, second)
        pairs.append(Panel(x, y, others[0] if others else None))
    return pairs


def knee_number(record: StudyRecord) -> int | None:
    """Return the number of the front's knee, the design nearest to the best of everything."""
    from codesign.search.pareto import knee, minimised

    front = record.front
    if not front:
        return None
    directions = list(record.objectives.values())
    points = [minimised([t.values[name] for name in record.objectives], directions) for t in front]
    return front[knee(points)].number
