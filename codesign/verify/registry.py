"""The checks of a bundle: one function each, run one by one, none of them stopping the others."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from codesign.errors import RunError, UserError
from codesign.verify.opened import Opened

CheckFunction = Callable[[Opened], str]
CHECKS: dict[str, CheckFunction] = {}
"""Name to check, in the order in which they run."""


class MismatchError(Exception):
    """A check failed.

    Args:
        lines: What differs: the file, the layer, the index, what was expected and what was got.
    """

    def __init__(self, *lines: str) -> None:
        super().__init__(*lines)
        self.lines = lines


@dataclass(frozen=True)
class Finding:
    """The result of a check.

    Attributes:
        check: The check's name.
        passed: Whether all is well.
        lines: What was found: one line where it passed, one for each failure otherwise.
        seconds: Wall-clock seconds it took.
    """

    check: str
    passed: bool
    lines: tuple[str, ...]
    seconds: float


def check(name: str) -> Callable[[CheckFunction], CheckFunction]:
    """Return a decorator that files a check.

    The function gets the opened bundle and returns what it found in a few words; it raises
    `MismatchError` where something differs, or UserError or RunError where a file cannot be used.
    """

    def decorate(function: CheckFunction) -> CheckFunction:
        if name in CHECKS:
            raise ValueError(f"check '{name}' is registered twice")
        CHECKS[name] = function
        return function

    return decorate


def report(*faults: str | None) -> None:
    """Raise `MismatchError` with the faults there are, if any.

    Args:
        faults: A line each, None for nothing wrong.
    """
    lines = [fault for fault in faults if fault]
    if lines:
        raise MismatchError(*lines)


def run_checks(
    folder: Path,
    names: Iterable[str],
    *,
    begin: Callable[[str], None] = lambda name: None,
    end: Callable[[Finding], None] = lambda finding: None,
) -> list[Finding]:
    """Run checks on a bundle, each whatever the others found.

    Args:
        folder: The bundle.
        names: Names of the checks, in order.
        begin: Called with the name of a check before it runs.
        end: Called with its result.
    """
    opened = Opened(folder)
    findings = []
    for name in names:
        begin(name)
        findings.append(_run(name, opened))
        end(findings[-1])
    return findings


def _run(name: str, opened: Opened) -> Finding:
    start = time.perf_counter()
    passed = False
    lines: tuple[str, ...]
    try:
        passed, lines = True, (CHECKS[name](opened),)
    except MismatchError as error:
        lines = error.lines
    except (UserError, RunError) as error:
        lines = (str(error),)
    except Exception as error:  # whatever a file someone else wrote may provoke in an executor
        lines = (f"{type(error).__name__}: {error}",)
    plain = tuple(" ".join(line.split()) for line in lines)
    return Finding(name, passed, plain, time.perf_counter() - start)
