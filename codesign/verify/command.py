"""The verify command: a line for each check, and what it found."""

from dataclasses import dataclass
from pathlib import Path

from codesign import cli
from codesign.cli import setting
from codesign.errors import UserError
from codesign.verify.printer import Printer
from codesign.verify.verify import verify_bundle

PROGRAM = "codesign.verify"
USAGE = "BUNDLE"


@dataclass
class VerifySettings:
    """Check an export bundle: hashes, schemas, and its network in every executor."""

    bundle: str = setting(
        "",
        "folder of the bundle, with or without bundle= in front (required); its own verify.py is"
        " run. Exit code 0: all is well; 1: a check failed; 2: no bundle",
    )


def main(arguments: list[str]) -> int:
    """Verify a bundle, print a line for each check, and return 0, or 1 if one failed."""
    words = [_as_setting(word) for word in arguments]
    settings = cli.read_settings(VerifySettings, words, PROGRAM, USAGE)
    if not settings.bundle:
        raise UserError("which bundle? Give its folder, for example runs/<study>/exports/12.")
    folder = Path(settings.bundle).expanduser()
    printer = Printer()
    try:
        findings = verify_bundle(folder, begin=printer.begin, end=printer.end)
    finally:
        printer.stop()
    failed = sum(not finding.passed for finding in findings)
    verdict = f"{failed} of {len(findings)} checks failed" if failed else "all checks passed"
    print(f"{folder}: {verdict}")
    return 1 if failed else 0


def _as_setting(word: str) -> str:
    """Return `bundle=PATH` for a path that stands alone, which may hold an equals sign."""
    if word in cli.OPTIONS or word.startswith("-"):
        return word
    bare = "=" not in word or Path(word).expanduser().exists()
    return f"bundle={word}" if bare else word
