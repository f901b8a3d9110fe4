"""Put a finished folder in place of another in one step, whatever interrupts the writing.

The files are written in a working folder beside the target, `.codesign-export-<hash of the name>`,
which the kernel keeps locked (flock) as long as the writing process lives. On Linux file systems
that can (renameat2 with RENAME_EXCHANGE: ext4, XFS, Btrfs, tmpfs, overlayfs), the old and the new
folder change places in one step; elsewhere the old one is moved away first, and should the process
be killed between the two steps, the next export moves it back.
"""

import ctypes
import errno
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from codesign.bundle.manifest import MANIFEST
from codesign.errors import UserError
from codesign.files import content_key

PREFIX = ".codesign-export-"
_NEW, _OLD, _TARGET = "new", "old", "target"
_ATTEMPTS, _PAUSE_SECONDS = 10, 0.05
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_CANNOT = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM)


@contextmanager
def workspace(out: Path) -> Iterator[Path]:
    """Make an empty folder to write in; remove it at the end, whatever is left in it.

    What killed exports left beside the target is removed as well.

    Args:
        out: The target.

    Returns:
        The folder, to be given to `put_in_place` once it is complete.

    Raises:
        UserError: Another process is exporting to this target, or folders cannot be locked there.
    """
    parent = out.parent
    parent.mkdir(parents=True, exist_ok=True)
    work = parent / f"{PREFIX}{content_key(out.name)}"
    for left in sorted(parent.glob(f"{PREFIX}*")):
        if left != work:
            _remove_left(left)
    lock = _locked(work, out)
    try:
        _empty(work)
        (work / _TARGET).write_bytes(os.fsencode(out.name))
        (work / _NEW).mkdir()
        yield work / _NEW
    finally:
        _empty(work)
        work.rmdir()
        os.close(lock)


def put_in_place(folder: Path, out: Path) -> None:
    """Move a finished folder of `workspace` to the target, in place of what is there.

    Raises:
        OSError: It cannot be moved; the target is unchanged.
    """
    _sync_folders(folder)
    if not out.exists():
        os.rename(folder, out)
    elif not _exchange(folder, out):
        old = folder.parent / _OLD
        os.rename(out, old)
        try:
            os.rename(folder, out)
        except BaseException:
            os.rename(old, out)
            raise
    _sync(out.parent)


def _locked(work: Path, out: Path) -> int:
    """Return the descriptor of the working folder, locked by this process.

    A lock that is held for a moment only, by one who clears up, is waited for.
    """
    for _ in range(_ATTEMPTS):
        work.mkdir(exist_ok=True)
        try:
            lock = _try_lock(work)
        except FileNotFoundError:  # its owner removed it in this moment
            continue
        except OSError as error:
            raise UserError(
                f"{work.parent} cannot be locked ({error.strerror}): export to a local disk."
            ) from error
        if lock is not None and _is_same(lock, work):
            return lock
        if lock is not None:
            os.close(lock)
        time.sleep(_PAUSE_SECONDS)
    raise UserError(f"another export is writing {out}: wait until it ends, or give another out=.")


def _try_lock(folder: Path) -> int | None:
    """Return a locked descriptor of a folder, None where a living process holds it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            return None
        raise
    return descriptor


def _is_same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _remove_left(work: Path) -> None:
    """Remove the working folder of another target, unless its process lives."""
    try:
        lock = _try_lock(work)
    except OSError:  # gone by now, or no folder of an export
        return
    if lock is None:
        return
    try:
        if _is_same(lock, work):
            _empty(work)
            work.rmdir()
    finally:
        os.close(lock)


def _empty(work: Path) -> None:
    """Remove what a working folder holds; a bundle that was moved away goes back first."""
    name = work / _TARGET
    if (work / _OLD).is_dir() and name.is_file():
        target = work.parent / Path(os.fsdecode(name.read_bytes())).name
        if not target.exists():
            os.rename(work / _OLD, target)
    for path in sorted(work.iterdir()):
        if path.is_dir() and not path.is_symlink():
            (path / MANIFEST).unlink(missing_ok=True)  # no manifest in a folder half removed
            shutil.rmtree(path)
        else:
            path.unlink()


def _exchange(first: Path, second: Path) -> bool:
    """Let two folders change places in one step; return whether the system can."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    one, two = (ctypes.c_char_p(os.fsencode(path)) for path in (first, second))
    if rename(_AT_FDCWD, one, _AT_FDCWD, two, ctypes.c_uint(_RENAME_EXCHANGE)) == 0:
        return True
    code = ctypes.get_errno()
    if code in _CANNOT:
        return False
    raise OSError(code, os.strerror(code), str(second))


def _sync_folders(folder: Path) -> None:
    """Have the names of a folder's files on the disk before it is shown; files were synced."""
    for path in [*(p for p in folder.rglob("*") if p.is_dir()), folder]:
        _sync(path)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
