"""Files that are whole or absent: written under a temporary name, then renamed."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any


def json_text(value: Any) -> str:
    """Return a value as indented JSON.

    Raises:
        ValueError: A number is not finite.
    """
    return json.dumps(value, indent=1, allow_nan=False) + "\n"


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file, its folder included; a reader sees the old file or the whole new one.

    Raises:
        OSError: The folder cannot be written or the disk is full; `path` is then unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
