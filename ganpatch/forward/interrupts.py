"""Ctrl-C and SIGTERM between two batches and not within one, so that what is kept is whole.

    with waiting_for_batches() as stop:
        for batch in batches:
            ...
            stop.if_asked()                 # raises what the signal raises elsewhere, KeyboardInterrupt

A second Ctrl-C ends at once; then `stop.at_once` is true, and the state may be half of a batch ahead.
"""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_IMPATIENT = 1.0  # seconds after which a second signal is meant: torchrun passes on what the terminal sent already


class Stop:
    """Whether a signal asked to stop."""

    def __init__(self) -> None:
        self.at_once = False
        self._handlers: dict[int, Any] = {}
        self._number, self._asked = 0, 0.0

    def if_asked(self) -> None:
        """Stop, if a signal asked for it."""
        if self._number:
            self._handlers[self._number](self._number, None)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if not self._number:
            self._number, self._asked = number, time.monotonic()
        elif time.monotonic() - self._asked > _IMPATIENT:
            self.at_once = True
            self._handlers[number](number, frame)

    def _take_over(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            if callable(handler):  # what ends or ignores without a word of Python stays so
                self._handlers[number] = handler
                signal.signal(number, self._on_signal)

    def _give_back(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)


@contextmanager
def waiting_for_batches() -> Iterator[Stop]:
    """Hold signals back until they are asked for; in another thread than the main one they never come."""
    stop = Stop()
    if threading.current_thread() is threading.main_thread():
        stop._take_over()
    try:
        yield stop
    finally:
        stop._give_back()
