"""Evaluation in the driver's own process: for debugging, and the same study twice."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from codesign.design import Design
from codesign.search.executors.base import Outcome, Resources, describe_error
from codesign.search.problem import Problem


class SerialExecutor:
    """Evaluates one design at a time, when waited for.

    Args:
        factory: Builds the problem, on the first evaluation.
        resources: Only the time limit counts.
    """

    def __init__(self, factory: Callable[[], Problem], resources: Resources) -> None:
        self._factory = factory
        self._timeout_s = resources.timeout_s
        self._problem: Problem | None = None
        self._next: tuple[int, Design] | None = None

    @property
    def free(self) -> int:
        """One, where no design waits."""
        return int(self._next is None)

    @property
    def busy(self) -> int:
        """One, where a design waits."""
        return int(self._next is not None)

    def submit(self, number: int, design: Design) -> None:
        """Take a design, evaluated at the next `wait`."""
        self._next = (number, design)

    def wait(self, timeout_s: float) -> list[Outcome]:
        """Evaluate the design that waits."""
        if self._next is None:
            return []
        if self._problem is None:
            self._problem = self._factory()
        number, design = self._next
        started = time.monotonic()
        evaluation, error = None, None
        try:
            with _time_limit(self._timeout_s):
                evaluation = self._problem.evaluate(design)
        except Exception as caught:
            error = describe_error(caught)
        self._next = None
        return [Outcome(number, evaluation, error, time.monotonic() - started)]

    def close(self) -> None:
        """Drop the problem."""
        self._problem = None


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the body after `seconds`, where signals can be had."""
    if not seconds or threading.current_thread() is not threading.main_thread():
        yield
        return

    def expire(signum: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"timed out after {seconds:g} s")

    previous = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
