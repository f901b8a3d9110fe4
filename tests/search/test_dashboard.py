"""What optuna-dashboard gets: read through its own functions."""

import optuna
import pytest
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta
from optuna_dashboard._custom_plot_data import get_plotly_graph_objects
from optuna_dashboard._note import get_note_from_system_attrs

from codesign.search.dashboard import pareto_figure
from codesign.search.read import read_study


@pytest.fixture
def study(search, tmp_path):
    search("trials=8", "constraints={fpga.dsp_pct: 20, accuracy.min: 0.96}")
    url = f"sqlite:///{tmp_path / 'runs' / 'small' / 'study.db'}"
    return optuna.load_study(study_name="small", storage=url)


def test_names_notes_and_figures(study):
    assert study.metric_names == ["accuracy", "fpga.latency_ms", "fpga.dsp"]
    attributes = study._storage.get_study_system_attrs(study._study_id)
    assert "genes" in get_note_from_system_attrs(attributes, None)["body"]
    assert set(get_plotly_graph_objects(attributes)) == {"pareto-front", "hypervolume"}
    for trial in study.trials:
        if trial.state == optuna.trial.TrialState.COMPLETE:
            note = get_note_from_system_attrs(attributes, trial._trial_id)
            assert "MAC array" in note["body"] and "accuracy" in note["body"]


def test_artifacts_are_there_and_whole(study, tmp_path):
    run_dir = tmp_path / "runs" / "small"
    store = FileSystemArtifactStore(str(run_dir / "artifacts"))
    for trial in study.trials:
        if trial.state != optuna.trial.TrialState.COMPLETE or "reuses" in trial.user_attrs:
            continue
        metas = get_all_artifact_meta(trial, storage=study._storage)
        assert {meta.filename for meta in metas} == {f"{trial.number}.json", f"{trial.number}.npz"}
        for meta in metas:
            if meta.filename.endswith(".npz"):
                with store.open_reader(meta.artifact_id) as file:
                    expected = (run_dir / "designs" / meta.filename).read_bytes()
                    assert file.read() == expected


def test_constraints_are_optunas_own(study, tmp_path):
    feasible = {t.number for t in study.best_trials}
    record = read_study(tmp_path / "runs" / "small")
    assert feasible >= {t.number for t in record.front}
    complete = [t for t in study.trials if t.state == optuna.trial.TrialState.COMPLETE]
    assert any(t.constraints["accuracy.min"] > 0 for t in complete)
    for trial in complete:
        assert trial.constraints["accuracy.min"] == pytest.approx(0.96 - trial.values[0])


def test_the_pareto_figure_shows_every_complete_trial_once(study, tmp_path):
    record = read_study(tmp_path / "runs" / "small")
    figure = pareto_figure(record)
    shown = sum(len(trace.x) for trace in figure.data)
    assert shown == sum(t.state == "complete" and t.reuses is None for t in record.trials)
    front = next(trace for trace in figure.data if trace.name == "front")
    assert sorted(front.x) == sorted(t.values["accuracy"] for t in record.front)
