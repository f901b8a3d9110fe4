"""Read the files of a bundle: none outside its folder, none through a link, damage in one line."""

import json
import os
import stat
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.errors import UserError
from codesign.integer.model import DAMAGE, IntegerModel

Arrays = dict[str, NDArray[Any]]
GRAPH, WEIGHTS = "graph.json", "weights.npz"


def is_plain(name: str) -> bool:
    """Return whether a path, as a bundle names its files, stays inside the bundle's folder."""
    odd = any(character < " " or character in "\\\x7f" for character in name)
    parts = name.split("/")
    return not odd and not any(part in ("", ".", "..") for part in parts)


def member(folder: Path, name: str) -> Path:
    """Return the path of a file of a bundle.

    Args:
        folder: The bundle.
        name: Its path inside, with slashes, for example "golden/golden.npz".

    Raises:
        UserError: The name leads out of the folder, or there is no such file, or it is a link.
    """
    if not isinstance(name, str) or not is_plain(name):
        raise UserError(f"{name!r} is no path inside the bundle {folder}: it is refused.")
    path = folder
    for part in PurePosixPath(name).parts:
        path = path / part
        if path.is_symlink():
            raise UserError(f"{name} of the bundle {folder} is a link: it is refused.")
    if not path.is_file():
        raise UserError(f"{name} is missing from the bundle {folder}.")
    return path


def read_bytes(folder: Path, name: str) -> bytes:
    """Return the content of a file of a bundle.

    Raises:
        UserError: See `member`; or the file cannot be read.
    """
    path = member(folder, name)
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{name} of the bundle {folder} cannot be read: {error.strerror}") from (
            error
        )


def read_text(folder: Path, name: str) -> str:
    """Return the text of a file of a bundle.

    Raises:
        UserError: See `read_bytes`; or it is not UTF-8.
    """
    try:
        return read_bytes(folder, name).decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{name} of the bundle {folder} is damaged: it is not UTF-8.") from error


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """Return the object that a JSON file of a bundle holds.

    Raises:
        UserError: See `read_text`; or it is not a JSON object.
    """
    try:
        value = json.loads(read_text(folder, name))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name} of the bundle {folder} is damaged: {error}") from error
    if not isinstance(value, dict):
        raise UserError(f"{name} of the bundle {folder} is damaged: it is not a JSON object.")
    return value


def read_npz(folder: Path, name: str) -> Arrays:
    """Return the arrays of an npz file of a bundle by key.

    Raises:
        UserError: See `member`; or it is not an npz file of plain arrays.
    """
    path = member(folder, name)
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except DAMAGE as error:
        raise UserError(f"{name} of the bundle {folder} is damaged: {error}") from error


def read_model(folder: Path) -> IntegerModel:
    """Return the integer model that a bundle's graph.json and weights.npz describe.

    Raises:
        UserError: One of the two is missing, damaged, or does not belong to the other.
    """
    graph, tensors = read_json(folder, GRAPH), read_npz(folder, WEIGHTS)
    for key, value in tensors.items():
        if value.dtype.kind not in "iu":
            raise UserError(
                f"{WEIGHTS} of the bundle {folder}: {key} is {value.dtype}, no integer."
            )
    try:
        return IntegerModel.from_json(graph, tensors)
    except DAMAGE as error:
        raise UserError(f"{GRAPH} of the bundle {folder} is damaged: {error}") from error


def entries(folder: Path) -> tuple[list[str], list[str]]:
    """Return the files of a folder, sorted, and what is in it that is neither file nor folder.

    Links are not followed: they are of the second kind.
    """
    files: list[Path] = []
    others: list[Path] = []
    waiting = [folder]
    while waiting:
        with os.scandir(waiting.pop()) as found:
            for entry in found:
                path = Path(entry.path)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(path)
                elif stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
                    files.append(path)
                else:
                    others.append(path)
    names = ([path.relative_to(folder) for path in sorted(kind)] for kind in (files, others))
    regular, strange = ([path.as_posix() for path in kind] for kind in names)
    return regular, strange
