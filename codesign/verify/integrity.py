"""The check of the manifest: every file is there, none was changed, none was added."""

from codesign.bundle.files import entries
from codesign.bundle.manifest import faults
from codesign.verify.opened import Opened
from codesign.verify.registry import MismatchError, check

MANIFEST_CHECK = "manifest"


@check(MANIFEST_CHECK)
def every_file(opened: Opened) -> str:
    """Every file has the hash that the manifest gives it; no file is missing or added."""
    found = faults(opened.folder)
    if found:
        raise MismatchError(*found)
    files, _ = entries(opened.folder)
    size = sum((opened.folder / name).stat().st_size for name in files)
    return f"{len(files)} files, {size / 1e6:.1f} MB, none changed, missing or added"
