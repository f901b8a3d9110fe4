"""A table of synthesis results: which configurations it has, and adding to it."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from costmodels.errors import CostModelError
from costmodels.files import write_atomic

_SOURCE = "# Source: "


@dataclass
class Table:
    """A CSV file of counts by configuration, made with one version of one tool.

    Attributes:
        path: The file.
        title: What a row is, the file's first comment.
        version: The tool's version.
        counts: The resources counted, the last columns.
        rows: The counts of each configuration, by the texts of its fields.
    """

    path: Path
    title: str
    version: str
    counts: tuple[str, ...]
    rows: dict[tuple[str, ...], dict[str, int]] = field(default_factory=dict)

    def read(self) -> None:
        """Read the rows there are.

        Raises:
            CostModelError: Another tool or version made them, or the file is damaged.
        """
        if not self.path.exists():
            return
        lines = self.path.read_text().splitlines()
        made = next((line for line in lines if line.startswith(_SOURCE)), _SOURCE)
        if made != _SOURCE + self.version:
            raise CostModelError(
                f"{self.path} comes from {made.removeprefix(_SOURCE) or 'an unknown tool'}, not "
                f"{self.version}: install that, or give another folder (out=FOLDER)"
            )
        try:
            for row in csv.DictReader(line for line in lines if not line.startswith("#")):
                found = {name: int(row.pop(name)) for name in self.counts}
                self.rows[tuple(row.values())] = found
        except (KeyError, ValueError, TypeError) as error:
            raise CostModelError(f"{self.path} is damaged ({error}): delete it") from None

    def get(self, configuration: Any) -> dict[str, int] | None:
        """Return the counts of a configuration, None where it is not yet there."""
        return self.rows.get(_key(configuration))

    def add(self, configurations: Sequence[Any], found: Sequence[Mapping[str, int]]) -> None:
        """File the counts of some configurations; a reader sees the old table or the new one."""
        for configuration, counts in zip(configurations, found, strict=True):
            self.rows[_key(configuration)] = {name: counts[name] for name in self.counts}
        text = io.StringIO()
        text.write(f"# {self.title}\n{_SOURCE}{self.version}\n")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*asdict(configurations[0]), *self.counts])
        writer.writerows([*key, *counts.values()] for key, counts in self.rows.items())
        write_atomic(self.path, text.getvalue())


def _key(configuration: Any) -> tuple[str, ...]:
    return tuple(str(value) for value in asdict(configuration).values())
