"""Ctrl-C and SIGTERM: the first asks the search to end, the second ends it."""

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """True once a first signal came; the second raises KeyboardInterrupt.

    Args:
        announce: Called on the first signal.
    """

    def __init__(self, announce: Callable[[], None]) -> None:
        self._announce = announce
        self._asked_at: float | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        """Take the signals over; only the main thread can."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the signals back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def __bool__(self) -> bool:
        return self._asked_at is not None

    @property
    def seconds(self) -> float:
        """Seconds since the first signal, 0 before it."""
        return 0.0 if self._asked_at is None else time.monotonic() - self._asked_at

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._asked_at is not None:
            raise KeyboardInterrupt
        self._asked_at = time.monotonic()
        self._announce()
