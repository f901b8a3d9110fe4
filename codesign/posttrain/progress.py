"""Progress of a command: a live line on a terminal, plain lines elsewhere."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status
from torch import Tensor

Batch = tuple[Tensor, Tensor]
LINE_SECONDS = 10.0
"""Seconds between the lines of a long stage where there is no terminal."""
NOTABLE_SECONDS = 3.0


class Progress:
    """Says what a command is doing.

    Args:
        console: Where it goes; a quiet console shows nothing.
    """

    def __init__(self, console: Console) -> None:
        self.console = console

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def stage(self, what: str) -> Iterator[Callable[[str], None]]:
        """Show a stage while it runs; without a terminal, a line if it takes a notable time.

        Args:
            what: What is done.

        Returns:
            A function that shows how far the stage is, given in words.
        """
        timer = threading.Timer(NOTABLE_SECONDS, self.say, (what,))
        if not self.console.is_terminal:
            timer.start()
        try:
            with self.console.status(what) as status:
                yield self._reporter(status, NOTABLE_SECONDS + LINE_SECONDS)
        finally:
            timer.cancel()

    def batches(self, batches: Iterable[Batch], images: int, what: str) -> Iterator[Batch]:
        """Yield batches, showing how many of the images are done."""
        done = 0
        with self.console.status(f"{what}, {images} images") as status:
            report = self._reporter(status, NOTABLE_SECONDS)
            for batch in batches:
                yield batch
                done += len(batch[1])
                report(f"{what}, {done} of {images} images")

    def _reporter(self, status: Status, wait_seconds: float) -> Callable[[str], None]:
        """Return a function that shows a text live, or as a line now and then."""
        due = time.perf_counter() + wait_seconds

        def report(text: str) -> None:
            nonlocal due
            status.update(text)
            if not self.console.is_terminal and time.perf_counter() > due:
                self.say(text)
                due = time.perf_counter() + LINE_SECONDS

        return report
