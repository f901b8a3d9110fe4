"""The suggester: one write a trial, no repetition while the space lasts, samplers that go on."""

import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState

from codesign.search.samplers import SAMPLERS, make_sampler
from codesign.search.suggest import Suggester
from codesign.settings import SamplerSettings

GENES = {f"g{i}": CategoricalDistribution([3, 4, 8]) for i in range(4)}


def study_of(path=None):
    storage = f"sqlite:///{path}" if path else None
    return optuna.create_study(
        storage=storage, study_name="s", directions=["minimize"] * 2, load_if_exists=True
    )


def suggester_of(study, name="nsga2", seed=0):
    sampler = make_sampler(SamplerSettings(name, 4), seed, len(study.trials))
    return Suggester(study, sampler, GENES, seed)


def cost(params):
    values = list(params.values())
    return [float(sum(values)), float(max(values) - min(values))]


def finish(study, suggester, trial):
    values = cost(trial.params)
    study.tell(trial, values)
    suggester.tell(trial.number, TrialState.COMPLETE, values, {})


def test_trials_are_running_in_the_study_with_all_genes(tmp_path):
    study = study_of(tmp_path / "s.db")
    trial = suggester_of(study).ask(lambda params: True)
    (stored,) = study.trials
    assert stored.state == TrialState.RUNNING and stored.number == trial.number
    assert stored.params == trial.params and stored.distributions == GENES


def test_queued_trials_come_first():
    study = study_of()
    wanted = dict.fromkeys(GENES, 8)
    study.enqueue_trial(wanted, user_attrs={"label": "mine"})
    suggester = suggester_of(study)
    trial = suggester.ask(lambda params: True)
    assert trial.params == wanted and trial.user_attrs["label"] == "mine"
    finish(study, suggester, trial)


def test_nothing_is_repeated_until_the_space_is_exhausted():
    study = study_of()
    suggester = suggester_of(study, "tpe")
    seen = set()
    for _ in range(60):
        trial = suggester.ask(lambda params: tuple(params.values()) not in seen)
        seen.add(tuple(trial.params.values()))
        finish(study, suggester, trial)
    assert len(seen) == 60  # of the 81 there are
    for _ in range(3):
        finish(study, suggester, suggester.ask(lambda params: False))


@pytest.mark.parametrize("name", SAMPLERS.names())
def test_every_sampler_goes_on_from_a_stored_study(tmp_path, name):
    path = tmp_path / "s.db"
    for _ in range(3):
        study = study_of(path)
        suggester = suggester_of(study, name)
        for _ in range(3):
            finish(study, suggester, suggester.ask(lambda params: True))
    assert [t.state for t in study_of(path).trials] == [TrialState.COMPLETE] * 9


def test_nsga2_goes_on_with_its_generation(tmp_path):
    path = tmp_path / "s.db"
    for _ in range(2):
        study = study_of(path)
        suggester = suggester_of(study)
        for _ in range(6):
            finish(study, suggester, suggester.ask(lambda params: True))
    notes = [t.user_attrs["sampler"] for t in study_of(path).trials]
    generations = [next(iter(note.values())) for note in notes]
    assert generations == sorted(generations) and generations[-1] == 2


@pytest.mark.parametrize("name", ["tpe", "nsga2"])
def test_samplers_learn_through_the_copy(name):
    """The mean of uniform draws of 20 genes from 0 to 5 is 50; late trials must be far below."""
    genes = {f"g{i}": CategoricalDistribution(list(range(6))) for i in range(20)}
    study = study_of()
    suggester = Suggester(study, make_sampler(SamplerSettings(name, 10), 1, 0), genes, 1)
    sums = []
    for _ in range(150):
        trial = suggester.ask(lambda params: True)
        total = float(sum(trial.params.values()))
        study.tell(trial, [total, total])
        suggester.tell(trial.number, TrialState.COMPLETE, [total, total], {})
        sums.append(total)
    assert sum(sums[-30:]) / 30 < 40
