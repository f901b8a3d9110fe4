"""RunDirectory: the files of a study beside its database, each one whole or absent."""

import csv
import io
import json
import logging
import os
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from codesign.design import Design
from codesign.files import write_atomic

PACKAGES = ("codesign", "torch", "timm", "optuna", "ray", "numpy", "scalesim", "omegaconf")
LOGGER = logging.getLogger("codesign.search")


class RunDirectory:
    """The folder `<runs_dir>/<study>`.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def artifacts(self) -> Path:
        """The folder of what optuna-dashboard shows with a trial."""
        return self.path / "artifacts"

    def design_file(self, number: int) -> Path:
        """Return the JSON file of a trial: design, metrics, cost per layer, details."""
        return self.path / "designs" / f"{number}.json"

    def model_file(self, number: int) -> Path:
        """Return the file of the integer model that was scored for a trial."""
        return self.path / "designs" / f"{number}.npz"

    def write_settings(self, settings: Mapping[str, Any]) -> None:
        """Write the resolved settings and the environment they run in."""
        write_atomic(self.path / "settings.yaml", yaml.safe_dump(dict(settings), sort_keys=False))
        self.write_json(self.path / "environment.json", environment())

    def write_model(self, number: int, model: bytes) -> None:
        """Write the integer model that was scored for a trial."""
        write_atomic(self.model_file(number), model)

    def write_json(self, path: Path, value: Any) -> None:
        """Write a JSON file."""
        write_atomic(path, json.dumps(value, indent=1, allow_nan=False) + "\n")

    def write_table(
        self, path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]
    ) -> None:
        """Write a CSV file."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
        write_atomic(path, text.getvalue())

    def read_design(self, number: int) -> dict[str, Any]:
        """Return what is kept of a trial's design, empty where nothing is."""
        try:
            content = json.loads(self.design_file(number).read_text())
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def open_log(self) -> logging.Handler:
        """Append the search's log to log.txt and return the handler."""
        handler = _LogFile(self.path / "log.txt")
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        LOGGER.addHandler(handler)
        LOGGER.setLevel(logging.INFO)
        LOGGER.propagate = False
        return handler


class _LogFile(logging.FileHandler):
    """A log whose write errors (a full disk) are errors of the run."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        raise


def design_of(stored: Mapping[str, Any]) -> Design | None:
    """Return the design of a trial's file as read, None where it is missing or damaged."""
    try:
        return Design.from_json(stored["design"])
    except (KeyError, TypeError, AttributeError):
        return None


def environment() -> dict[str, Any]:
    """Return versions, machine and command, for whoever repeats the run."""
    return {
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": len(os.sched_getaffinity(0)),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
