"""What optuna-dashboard shows of a study: notes, artifacts and our own figures.

The dashboard (0.21) draws only two objectives at a time, has no hypervolume plot, and does not know
the constraints that Optuna 5 stores; our figures do. Artifacts are uploaded before a trial ends:
Optuna takes none afterwards.
"""

import warnings
from typing import Any

import optuna
from optuna.artifacts import FileSystemArtifactStore, upload_artifact
from optuna.trial import Trial

from codesign.search.read import is_candidate
from codesign.search.records import StudyRecord, TrialRecord
from codesign.search.rundir import RunDirectory

COLOURS = {"front": "#0072B2", "dominated": "#999999", "infeasible": "#D55E00", "line": "#009E73"}


def attach(study: optuna.Study, trial: Trial, files: RunDirectory, note: str) -> None:
    """Add the note and the files of a running trial."""
    from optuna_dashboard import save_note

    files.artifacts.mkdir(parents=True, exist_ok=True)
    store = FileSystemArtifactStore(str(files.artifacts))
    for path in (files.design_file(trial.number), files.model_file(trial.number)):
        upload_artifact(
            artifact_store=store,
            file_path=str(path),
            study_or_trial=trial,
            storage=study._storage,
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        save_note(trial, note)


def describe_study(study: optuna.Study, text: str) -> None:
    """Set the study's note, in Markdown."""
    from optuna_dashboard import save_note

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        save_note(study, text)


def publish_figures(study: optuna.Study, record: StudyRecord) -> None:
    """Put the Pareto front and the hypervolume's history under the user-defined plots."""
    from optuna_dashboard import save_plotly_graph_object

    figures = {"pareto-front": pareto_figure(record), "hypervolume": hypervolume_figure(record)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, figure in figures.items():
            save_plotly_graph_object(study, figure, graph_object_id=name)


def pareto_figure(record: StudyRecord) -> Any:
    """Return the complete trials in two objectives, or three, as a plotly figure."""
    import plotly.graph_objects as go

    names = list(record.objectives)[:3]
    complete = [trial for trial in record.trials if trial.state == "complete"]
    groups = {
        "front": [trial for trial in complete if trial.on_front],
        "dominated": [t for t in complete if not t.on_front and is_candidate(t)],
        "infeasible": [t for t in complete if any(v > 0 for v in t.constraints.values())],
    }
    traces = [_scatter(go, key, trials, names) for key, trials in groups.items() if trials]
    figure = go.Figure(traces)
    figure.update_layout(title="Pareto front", template="plotly_white")
    titles = {f"{axis}axis_title": name for axis, name in zip("xyz", names, strict=False)}
    if len(names) == 3:
        figure.update_layout(
            scene={k.replace("_title", ""): {"title": v} for k, v in titles.items()}
        )
    else:
        figure.update_layout(xaxis_title=names[0], yaxis_title=names[1] if names[1:] else "trial")
    return figure


def hypervolume_figure(record: StudyRecord) -> Any:
    """Return the relative hypervolume of the front after each complete trial."""
    import plotly.graph_objects as go

    line = {"color": COLOURS["line"]}
    numbers, volumes = zip(*record.hypervolume, strict=True) if record.hypervolume else ((), ())
    figure = go.Figure(go.Scatter(x=numbers, y=volumes, mode="lines+markers", line=line))
    figure.update_layout(
        title="Hypervolume of the front (1: ideal)",
        xaxis_title="trial",
        yaxis_title="relative hypervolume",
        template="plotly_white",
    )
    return figure


def _scatter(go: Any, key: str, trials: list[TrialRecord], names: list[str]) -> Any:
    text = [f"trial {t.number}" + (f" ({t.label})" if t.label else "") for t in trials]
    style = {"mode": "markers", "name": key, "marker": {"color": COLOURS[key], "size": 6}}
    axes: list[list[float]] = [[trial.values[name] for trial in trials] for name in names]
    if len(axes) == 3:
        return go.Scatter3d(x=axes[0], y=axes[1], z=axes[2], text=text, **style)
    vertical = axes[1] if len(axes) == 2 else [float(trial.number) for trial in trials]
    return go.Scatter(x=axes[0], y=vertical, text=text, **style)
