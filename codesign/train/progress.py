"""Progress of a training: a bar on a terminal, a line per epoch elsewhere."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar


class Progress:
    """Shows how far a training is and the mean loss of the running epoch.

    Args:
        name: What is trained.
        steps: Optimiser steps of the whole training.
        epochs: Epochs of the whole training.
        console: Where to show it; None shows nothing.
    """

    def __init__(self, name: str, steps: int, epochs: int, console: Console | None) -> None:
        self._name = name
        self._epochs = epochs
        self._epoch = 0
        self._losses: list[float] = []
        self._console = console
        self._bar: Bar | None = None
        if console is not None and console.is_terminal:
            columns = TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()
            self._bar = Bar(*columns, console=console, transient=True)
            self._task = self._bar.add_task(name, total=steps)

    def __enter__(self) -> "Progress":
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()

    def step(self, loss: float) -> None:
        """Count one optimiser step with its loss."""
        self._losses.append(loss)
        if self._bar:
            self._bar.update(self._task, advance=1, description=self._text(self._epoch + 1))

    def end_epoch(self) -> None:
        """Count one epoch; without a bar, print its line."""
        self._epoch += 1
        if self._console is not None and not self._bar:
            self._console.print(self._text(self._epoch), highlight=False)
        self._losses = []

    def _text(self, epoch: int) -> str:
        mean = sum(self._losses) / max(1, len(self._losses))
        return f"{self._name}: epoch {epoch} of {self._epochs}, loss {mean:.3f}"
