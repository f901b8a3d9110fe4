"""verify_bundle: every check of a bundle, in order."""

import importlib
from collections.abc import Callable
from pathlib import Path

from codesign.bundle.files import GRAPH
from codesign.bundle.manifest import MANIFEST
from codesign.errors import RunError, UserError
from codesign.verify.integrity import MANIFEST_CHECK
from codesign.verify.registry import CHECKS, Finding, run_checks

for _module in ("integrity", "documents", "replays", "onnx_files", "memories"):
    importlib.import_module(f"codesign.verify.{_module}")  # each registers its checks, in order

Begin = Callable[[str], None]
End = Callable[[Finding], None]


def verify_bundle(
    folder: Path, *, begin: Begin = lambda name: None, end: End = lambda finding: None
) -> list[Finding]:
    """Run every check on a bundle.

    One of them runs the bundle's own verify.py, a program: verify what you trust that far.

    Args:
        folder: The bundle.
        begin: Called with the name of a check before it runs.
        end: Called with its result.

    Returns:
        A finding for each check; the bundle is good where all have passed.

    Raises:
        UserError: The folder is no bundle.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: give the folder of an export bundle.")
    if not any((folder / name).is_file() for name in (MANIFEST, GRAPH)):
        raise UserError(f"{folder} is no export bundle: it holds neither {MANIFEST} nor {GRAPH}.")
    return run_checks(folder, CHECKS, begin=begin, end=end)


def check_written(
    folder: Path, *, begin: Begin = lambda name: None, end: End = lambda finding: None
) -> list[Finding]:
    """Run every check but that of the manifest on files that have none yet.

    Raises:
        RunError: A check failed; the message is the first difference.
    """
    names = [name for name in CHECKS if name != MANIFEST_CHECK]
    findings = run_checks(folder, names, begin=begin, end=end)
    failed = [finding for finding in findings if not finding.passed]
    if failed:
        more = f" (and {len(failed) - 1} more checks)" if len(failed) > 1 else ""
        raise RunError(
            f"check '{failed[0].check}' of the bundle failed{more}: {failed[0].lines[0]}."
            " Nothing was exported."
        )
    return findings
