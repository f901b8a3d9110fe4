"""The Optuna study: storage, settings it belongs to, and trials that a driver left behind."""

import sqlite3
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import Trial, TrialState

from codesign.errors import UserError
from codesign.settings import SearchSettings

DATABASE = "study.db"
LOCK_SECONDS = 60
# What may differ between the runs that share a study: it changes no trial's meaning.
NEUTRAL = {
    "space",
    "runs_dir",
    "trials",
    "workers",
    "executor",
    "ray_address",
    "device",
    "storage",
    "retries",
    "timeout_s",
    "report",
    "sampler",
    "quantize.sensitivities",
    "cost.reports",
}


def open_storage(url: str, run_dir: Path, create: bool = True) -> BaseStorage | None:
    """Return the storage of a study.

    SQLite is put in write-ahead mode, so that a dashboard can read while the search writes.

    Args:
        url: Any Optuna storage URL, "journal:FILE", or "" for SQLite in the run directory.
        run_dir: The run directory.
        create: Whether to create a database file that does not exist; else None is returned.

    Raises:
        UserError: It cannot be opened or is not a study's storage.
    """
    try:
        if url.startswith("journal:"):
            log = Path(url.removeprefix("journal:"))
            return JournalStorage(JournalFileBackend(str(log))) if create or log.exists() else None
        url = url or f"sqlite:///{run_dir / DATABASE}"
        if not url.startswith("sqlite"):
            return RDBStorage(url)
        path = Path(sqlalchemy.make_url(url).database or "")
        return _sqlite(url, path) if create or path.exists() else None
    except (sqlalchemy.exc.SQLAlchemyError, sqlite3.Error, ImportError, RuntimeError) as error:
        cause = " ".join(str(getattr(error, "orig", None) or error).split())
        raise UserError(f"storage {url} cannot be opened: {cause}") from error


def _sqlite(url: str, path: Path) -> RDBStorage:
    connection = sqlite3.connect(path, timeout=LOCK_SECONDS)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    finally:
        connection.close()
    storage = RDBStorage(url, engine_kwargs={"connect_args": {"timeout": LOCK_SECONDS}})
    sqlalchemy.event.listen(storage.engine, "connect", _relax)
    storage.engine.dispose()
    return storage


def _relax(connection: sqlite3.Connection, record: object) -> None:
    """Sync at checkpoints only: in WAL mode a crash of the machine then loses no consistency."""
    connection.execute("PRAGMA synchronous=NORMAL")


def find_study(settings: SearchSettings) -> optuna.Study | None:
    """Return the study of the settings, or None where there is none yet.

    Raises:
        UserError: The study belongs to other settings; the message shows the differences.
    """
    storage = open_storage(settings.storage, settings.run_dir, create=False)
    names = [] if storage is None else optuna.get_all_study_names(storage)
    if storage is None or settings.study not in names:
        return None
    study = optuna.load_study(study_name=settings.study, storage=storage)
    _refuse_other_settings(study, settings)
    return study


def create_study(settings: SearchSettings, attributes: Mapping[str, Any]) -> optuna.Study:
    """Create the study of the settings, with attributes that describe it.

    Raises:
        UserError: Its storage cannot be opened.
    """
    storage = open_storage(settings.storage, settings.run_dir)
    study = optuna.create_study(
        study_name=settings.study,
        storage=storage,
        directions=["maximize" if d == "max" else "minimize" for d in settings.objectives.values()],
        load_if_exists=True,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names(list(settings.objectives))
    for name, value in attributes.items():
        study.set_user_attr(name, value)
    study.set_user_attr("settings", settings.to_json())
    return study


def repair(study: optuna.Study) -> list[int]:
    """Fail the trials that a killed driver left running, and queue their designs again.

    Returns:
        The numbers of those trials.
    """
    left = study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
    for trial in left:
        requeue(study, Trial(study, trial._trial_id), "the search was killed while it ran")
    return [trial.number for trial in left]


def requeue(study: optuna.Study, trial: Trial, reason: str) -> None:
    """Fail a trial that could not end, and queue its design again."""
    attributes: dict[str, Any] = {"retry_of": trial.number}
    if "label" in trial.user_attrs:
        attributes["label"] = trial.user_attrs["label"]
    stored = trial.storage.get_trial(trial._trial_id)
    params = {**stored.system_attrs.get("fixed_params", {}), **stored.params}
    trial.set_user_attr("reason", reason)
    # Queued first: killed between the two, the design is evaluated once more, not lost.
    if params:
        study.enqueue_trial(params, user_attrs=attributes)
    study.tell(trial.number, state=TrialState.FAIL)


def _refuse_other_settings(study: optuna.Study, settings: SearchSettings) -> None:
    before, now = _flat(study.user_attrs.get("settings", {})), _flat(settings.to_json())
    differences = [
        f"{key}: {before.get(key)} -> {now.get(key)}"
        for key in sorted(before.keys() | now.keys())
        if not {key, key.split(".")[0]} & NEUTRAL and before.get(key) != now.get(key)
    ]
    if differences:
        raise UserError(
            f"study '{settings.study}' in {settings.run_dir} belongs to other settings "
            f"({'; '.join(differences)}): use the same, or start another with study=NAME."
        )


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one with dotted keys; empty ones stay, to be compared."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
