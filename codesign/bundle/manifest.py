"""MANIFEST.sha256: the hash of every file of a bundle, in the form that `sha256sum -c` reads."""

import hashlib
import re
from collections import Counter
from pathlib import Path

from codesign.bundle.files import entries, is_plain

MANIFEST = "MANIFEST.sha256"
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


def manifest(folder: Path) -> str:
    """Return the manifest of a folder: a line for each file but the manifest itself, sorted."""
    files, _ = entries(folder)
    return "".join(f"{_digest(folder / name)}  {name}\n" for name in files if name != MANIFEST)


def listed_files(folder: Path) -> set[str]:
    """Return the paths that a bundle's manifest names, the manifest's own included.

    They are as written there: never open one that `bundle.files.is_plain` refuses.
    """
    text = (folder / MANIFEST).read_bytes().decode(errors="surrogateescape")
    return {MANIFEST, *(line.partition("  ")[2] for line in text.splitlines())}


def faults(folder: Path) -> list[str]:
    """Return every way in which a folder is not what its manifest says, a line each; none is well.

    Nothing outside the folder is read, whatever the manifest names, and no link is followed.
    """
    files, others = entries(folder)
    found = [f"{name} is a link or a device, which no bundle holds" for name in others]
    if MANIFEST not in files:
        return [*found, f"{MANIFEST} is missing: the export was not completed"]
    text = (folder / MANIFEST).read_bytes().decode(errors="surrogateescape")
    hashes, wrong = _parse(text)
    found += wrong
    present = set(files) - {MANIFEST}
    found += [f"{name} is missing" for name in sorted(set(hashes) - present - set(others))]
    found += [f"{_shown(name)} is not in {MANIFEST}" for name in sorted(present - set(hashes))]
    for name in sorted(present & set(hashes)):
        try:
            changed = _digest(folder / name) != hashes[name]
        except OSError as error:
            found.append(f"{name} cannot be read: {error.strerror}")
        else:
            found += [f"{name} was changed: its SHA-256 is another one"] if changed else []
    if not found and text != manifest(folder):
        found.append(f"{MANIFEST} was changed: the files give another order or other line ends")
    return found


def _parse(text: str) -> tuple[dict[str, str], list[str]]:
    """Return the hash of each path inside the bundle, and what is wrong with the other lines."""
    hashes: dict[str, str] = {}
    wrong: list[str] = []
    for number, line in enumerate(text.split("\n")[:-1], 1):
        match = _LINE.fullmatch(line)
        if not match:
            wrong.append(f"{MANIFEST} line {number} is not '<SHA-256>  <path>'")
        elif not is_plain(match[2]):
            wrong.append(f"{MANIFEST} line {number} names {_shown(match[2])}: it is refused")
        else:
            hashes[match[2]] = match[1]
    names = Counter(line.partition("  ")[2] for line in text.split("\n")[:-1])
    wrong += [f"{MANIFEST} names {_shown(n)} {k} times" for n, k in names.items() if k > 1]
    if not text.endswith("\n"):
        wrong.append(f"{MANIFEST} does not end with a line end: it was cut")
    return hashes, wrong


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _shown(name: str) -> str:
    """Return a name as it may be printed: hostile ones in Python's notation."""
    return name if is_plain(name) and name.isprintable() else ascii(name)
