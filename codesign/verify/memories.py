"""Checks of the memory files: every word against the model's integers and the golden codes."""

from collections.abc import Mapping, Sequence
from typing import Any

from codesign.bundle.files import entries, read_text
from codesign.errors import UserError
from codesign.export.memories import Memories, golden_files, memory_files, read_memory
from codesign.verify.compare import difference
from codesign.verify.opened import Opened
from codesign.verify.registry import MismatchError, check, report


@check("memories")
def weights_and_constants(opened: Opened) -> str:
    """mem/*.mem, read by their entries in hardware.json, hold the integers of the model."""
    return _compare(opened, "memories", "mem/", memory_files(opened.model))


@check("golden mem")
def golden_codes(opened: Opened) -> str:
    """golden/mem/*.mem, read likewise, hold the codes of golden.npz."""
    expected = golden_files(opened.model, opened.golden)
    return _compare(opened, "golden_memories", "golden/mem/", expected)


def _compare(opened: Opened, key: str, folder: str, expected: Memories) -> str:
    listed = _listed(opened.hardware, key)
    there = {name for name in entries(opened.folder)[0] if name.startswith(folder)}
    faults = [f"{path} is no file of the model" for path in sorted(there - set(expected.files))]
    for wanted in expected.index:
        fault = _file(opened, listed.get(wanted["path"]), wanted, expected)
        faults += [fault] if fault else []
    faults += [
        f"hardware.json {key} lists {path!r}, which is no file of the model"
        for path in listed
        if path not in expected.files
    ]
    report(*faults)
    words = sum(entry["words"] for entry in expected.index)
    return f"{len(expected.files)} files, {words:,} words: every integer as in the npz"


def _file(
    opened: Opened, entry: Mapping[str, Any] | None, wanted: Mapping[str, Any], expected: Memories
) -> str | None:
    """Return what is wrong with a file or its entry, None for nothing."""
    path = wanted["path"]
    if entry is None:
        return f"hardware.json does not list {path}"
    for key in {**wanted, **entry}:
        if entry.get(key) != wanted.get(key):
            was = f"expected {wanted.get(key)!r}, got {entry.get(key)!r}"
            return f"hardware.json, {key} of {path}: {was}"
    try:
        text = read_text(opened.folder, path)
        values = read_memory(text, entry)
    except UserError as error:
        return str(error)
    fault = difference(f"{path} ({wanted['layer']})", expected.values[path], values)
    if fault is None and text != expected.files[path]:
        fault = f"{path}: the words are right, the comments or the white space are not"
    return fault


def _listed(hardware: Mapping[str, Any], key: str) -> dict[Any, Mapping[str, Any]]:
    """Return path to entry."""
    found = hardware.get(key)
    if not isinstance(found, Sequence) or not all(isinstance(entry, Mapping) for entry in found):
        raise MismatchError(f"hardware.json: {key} is no list of entries")
    return {entry.get("path"): entry for entry in found}
