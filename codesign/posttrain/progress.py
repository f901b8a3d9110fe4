"""Progress of a command: a live line on a terminal, plain lines elsewhere."""

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
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
    def stage(self, what: str) -> Iterator[None]:
        """Show a stage while it runs; without a terminal, a line if it takes a notable time."""
        timer = threading.Timer(NOTABLE_SECONDS, self.say, (what,))
        if not self.console.is_terminal:
            timer.start()
        try:
            with self.console.status(what):
                yield
        finally:
            timer.cancel()

    def batches(self, batches: Iterable[Batch], images: int, what: str) -> Iterator[Batch]:
        """Yield batches, showing how many of the images are done."""
        done, due = 0, time.perf_counter() + NOTABLE_SECONDS
        with self.console.status(f"{what}, {images} images") as status:
            for batch in batches:
                yield batch
                done += len(batch[1])
                status.update(f"{what}, {done} of {images} images")
                if not self.console.is_terminal and time.perf_counter() > due:
                    self.say(f"{what}, {done} of {images} images")
                    due = time.perf_counter() + LINE_SECONDS
