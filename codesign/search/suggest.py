"""Suggester: which design next, from a sampler that works on a copy of the study in memory.

A sampler reads every trial for every gene. On a database that takes seconds a trial after a few
hundred trials; in memory it takes milliseconds. The study itself gets each new trial in one write.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

ATTEMPTS = 20
MUTATIONS = 2  # genes changed, on average, where a sampler repeats itself

Params = Mapping[str, Any]


class Suggester:
    """Starts trials of a study.

    Args:
        study: The study; only trials are added to it.
        sampler: Chooses the parameters.
        distributions: Every gene's distribution.
        seed: Seed of the mutations.
    """

    def __init__(
        self,
        study: optuna.Study,
        sampler: BaseSampler,
        distributions: Mapping[str, CategoricalDistribution],
        seed: int,
    ) -> None:
        self._study = study
        self._distributions: dict[str, Any] = dict(distributions)
        self._copy = optuna.create_study(directions=study.directions, sampler=sampler)
        self._twins: dict[int, Trial] = {}
        earlier = study.get_trials(deepcopy=False)
        self._random = random.Random(f"{seed} {len(earlier)}")
        for trial in earlier:
            if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
                self._copy.add_trial(self._twin_of(trial))

    def ask(self, is_new: Callable[[Params], bool]) -> Trial:
        """Start a trial: the next that is queued, else one of the sampler's.

        Where the sampler repeats itself, a few of the proposed genes are changed at random until
        the design is new; a space that is exhausted gives a repetition in the end.

        Args:
            is_new: Whether parameters describe a design the study has not had.
        """
        if self._study.get_trials(deepcopy=False, states=[TrialState.WAITING]):
            trial = self._study.ask(self._distributions)
            self._twins[trial.number] = self._fixed(trial.params)
            return trial
        twin = self._copy.ask(self._distributions)
        if not is_new(twin.params):
            proposed = twin.params
            self._copy.tell(twin, state=TrialState.FAIL)
            twin = self._fixed(self._vary(proposed, is_new))
        trial = self._start(twin)
        self._twins[trial.number] = twin
        return trial

    def tell(
        self, number: int, state: TrialState, values: Sequence[float], constraints: Params
    ) -> None:
        """Let the sampler know how a trial ended."""
        twin = self._twins.pop(number)
        for name, excess in constraints.items():
            twin.set_constraint(name, excess)
        self._copy.tell(twin, values or None, state=state)

    def _vary(self, proposed: Params, is_new: Callable[[Params], bool]) -> Params:
        params = dict(proposed)
        chance = MUTATIONS / max(1, len(params))
        for _ in range(ATTEMPTS):
            for name, distribution in self._distributions.items():
                if self._random.random() < chance:
                    params[name] = self._random.choice(distribution.choices)
            if is_new(params):
                break
        return params

    def _fixed(self, params: Params) -> Trial:
        self._copy.enqueue_trial(dict(params))
        return self._copy.ask(self._distributions)

    def _start(self, twin: Trial) -> Trial:
        """Add a running trial with the twin's parameters to the study, in one write."""
        started = create_trial(
            state=TrialState.RUNNING,
            params=twin.params,
            distributions=self._distributions,
            user_attrs={"sampler": self._notes(twin)},
        )
        storage = self._study._storage
        return Trial(self._study, storage.create_new_trial(self._study._study_id, started))

    def _notes(self, twin: Trial) -> dict[str, Any]:
        """Return what the sampler keeps with a trial (NSGA-II: its generation)."""
        attributes = twin.storage.get_trial(twin._trial_id).system_attrs
        return {key: value for key, value in attributes.items() if key.endswith("generation")}

    def _twin_of(self, trial: FrozenTrial) -> FrozenTrial:
        return create_trial(
            state=trial.state,
            values=trial.values if trial.state == TrialState.COMPLETE else None,
            params=trial.params,
            distributions=trial.distributions,
            system_attrs=trial.user_attrs.get("sampler", {}),
            constraints=trial.constraints,
        )
