"""What a new study fixes before its first trial: known metrics and the reference point."""

import difflib
import random
from collections.abc import Collection, Mapping, Sequence

from codesign.errors import UserError
from codesign.limits import Limit, parse_limits
from codesign.search.problem import Problem
from codesign.settings import SearchSettings
from codesign.space import SearchSpace
from costmodels.estimate import Cost

SAMPLES = 64
MARGIN = 1.1
MEASURED = ("accuracy", "accuracy_post_training", "accuracy_distilled")


def survey(settings: SearchSettings, space: SearchSpace, problem: Problem) -> dict[str, float]:
    """Check that the metrics named in the settings exist, and return the reference point.

    The reference point of the hypervolume is fixed for the whole study: for an estimated metric a
    tenth beyond the worst of the baselines and of 64 random designs that keep the limits; 0 for a
    measured metric to maximise and 1 for one to minimise, since those are fractions.

    Returns:
        Objective name to its reference value.

    Raises:
        UserError: A metric of the objectives or constraints is unknown, or no design of the sample
            keeps the limits on its cost, baselines included.
    """
    generator = random.Random(0)
    designs = [design for _, design in space.baselines()]
    for _ in range(SAMPLES):
        params = {name: generator.choice(choices) for name, choices in space.genes.items()}
        designs.append(space.decode(params))
    costs = [problem.price(design) for design in designs]
    limits = parse_limits(settings.constraints)
    _check_names("objectives", settings.objectives, costs[0])
    _check_names("constraints", [limit.metric for limit in limits], costs[0])
    affordable = [cost for cost in costs if _keeps(cost, limits)] or costs
    return {
        name: _reference(name, direction, affordable)
        for name, direction in settings.objectives.items()
    }


def _reference(name: str, direction: str, costs: Sequence[Cost]) -> float:
    if name not in costs[0].metrics:
        return 0.0 if direction == "max" else 1.0
    values = [float(cost.metrics[name]) for cost in costs]
    return min(values) / MARGIN if direction == "max" else max(values) * MARGIN


def _keeps(cost: Cost, limits: Sequence[Limit]) -> bool:
    known = [limit for limit in limits if limit.metric in cost.metrics]
    return all(limit.excess(cost.metrics[limit.metric]) <= 0 for limit in known)


def _check_names(key: str, names: Collection[str] | Mapping[str, str], cost: Cost) -> None:
    known = [*MEASURED, *cost.metrics]
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=3)
            hint = f" Did you mean {' or '.join(close)}?" if close else ""
            raise UserError(f"{key}: unknown metric '{name}'.{hint} Known: {', '.join(known)}.")
