"""A cache of counts on disk: one small JSON file each, whole or absent."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from costmodels.files import write_atomic


def read_entry(path: Path, task: Mapping[str, Any]) -> int | None:
    """Return the count filed under `path` for `task`, or None where there is no sound one."""
    try:
        entry = json.loads(path.read_text())
        count = entry["count"] if entry["task"] == task else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    sound = isinstance(count, int) and not isinstance(count, bool) and count >= 0
    return count if sound else None


def write_entry(path: Path, task: Mapping[str, Any], count: int) -> None:
    """File `count` under `path`; a reader sees the old file or the whole new one.

    Raises:
        OSError: The folder is not writable or the disk is full.
    """
    write_atomic(path, json.dumps({"task": task, "count": count}))
