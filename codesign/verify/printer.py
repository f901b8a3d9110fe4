"""Print the checks as they run: a line for each result, and one for what takes long."""

import threading

from codesign.verify.registry import Finding

PATIENCE_SECONDS = 3.0


class Printer:
    """Prints what each check found, and that one is still running after a few seconds.

    Args:
        indent: What stands in front of every line.
        seconds: How long a check may be silent.
    """

    def __init__(self, indent: str = "", seconds: float = PATIENCE_SECONDS) -> None:
        self._indent = indent
        self._seconds = seconds
        self._timer: threading.Timer | None = None

    def begin(self, name: str) -> None:
        """Start the clock of a check."""
        self.stop()
        self._timer = threading.Timer(self._seconds, self._print, (f"{name} is running ...",))
        self._timer.daemon = True
        self._timer.start()

    def end(self, finding: Finding) -> None:
        """Print what a check found."""
        self.stop()
        mark = "ok    " if finding.passed else "FAILED"
        for line in finding.lines:
            self._print(f"{mark}  {finding.check:<12}  {line}")

    def stop(self) -> None:
        """Stop the clock."""
        if self._timer:
            self._timer.cancel()

    def _print(self, line: str) -> None:
        print(f"{self._indent}{line}", flush=True)
