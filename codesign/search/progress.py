"""What a user sees while a search runs: a live line on a terminal, log lines elsewhere."""

import time
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

from codesign.search.rundir import LOGGER


@dataclass
class Counts:
    """How far a search is.

    Attributes:
        wanted: Completed trials wanted.
        complete: Completed trials, earlier runs included.
        failed: Failed trials, earlier runs included.
        refused: Trials refused for their cost, earlier runs included.
        front: Trials on the front.
        hypervolume: Relative hypervolume of the front.
        busy: Designs being evaluated.
    """

    wanted: int = 0
    complete: int = 0
    failed: int = 0
    refused: int = 0
    front: int = 0
    hypervolume: float = 0.0
    busy: int = 0


class Progress:
    """Shows counts and trials; log.txt gets every line that is shown.

    Args:
        console: Where to write.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.counts = Counts()
        self._live = Live(console=console, refresh_per_second=2, transient=True)
        self._started = time.monotonic()
        self._before = 0

    def __enter__(self) -> "Progress":
        """Start the clock of the estimate, and the live line."""
        self._started, self._before = time.monotonic(), self.counts.complete
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the live line away."""
        self._live.stop()

    def say(self, message: str, style: str = "") -> None:
        """Write a line to the console and to the log."""
        self.console.print(Text(message, style=style), soft_wrap=True)
        LOGGER.info(message)

    def update(self) -> None:
        """Redraw the live line."""
        if self._live.is_started:
            self._live.update(Text(self.line(), style="bold", no_wrap=True, overflow="ellipsis"))

    def line(self) -> str:
        """Return the state of the search in one line."""
        c = self.counts
        return (
            f"{c.complete}/{c.wanted} trials, {c.failed} failed, {c.refused} refused; "
            f"front {c.front}, hypervolume {c.hypervolume:.3f}; {c.busy} busy; ETA {self._eta()}"
        )

    def _eta(self) -> str:
        """Return the time left at the pace of this run."""
        done = self.counts.complete - self._before
        if not done:
            return "-"
        left = max(0, self.counts.wanted - self.counts.complete)
        seconds = round((time.monotonic() - self._started) / done * left)
        hours = f"{seconds // 3600} h " if seconds >= 3600 else ""
        return f"{hours}{seconds // 60 % 60}:{seconds % 60:02}"
