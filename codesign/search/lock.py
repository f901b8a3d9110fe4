"""One driver at a time: a lock on the run directory that the kernel frees when its holder dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from codesign.errors import UserError

NAME = ".lock"


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Hold the run directory, creating it if need be and removing it if it stays empty.

    Raises:
        UserError: Another process holds it (the message gives its number), or it cannot be
            written.
    """
    created = not run_dir.exists()
    descriptor = _open(run_dir)
    try:
        _acquire(descriptor, run_dir)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        try:
            yield
        finally:
            _remove_if_empty(run_dir, created)
    finally:
        os.close(descriptor)


def _open(run_dir: Path) -> int:
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        return os.open(run_dir / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise UserError(
            f"the run directory {run_dir} cannot be written: {error.strerror}. "
            "Give another one with runs_dir=DIR."
        ) from error


def _acquire(descriptor: int, run_dir: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 32, 0).decode() or "unknown"
        raise UserError(
            f"{run_dir} is in use by another search (process {holder}): wait for it or stop it, "
            "or give another study=NAME."
        ) from error


def _remove_if_empty(run_dir: Path, created: bool) -> None:
    """Take back what locking a run that never began has made."""
    if created and [path.name for path in run_dir.iterdir()] == [NAME]:
        (run_dir / NAME).unlink()
        run_dir.rmdir()
