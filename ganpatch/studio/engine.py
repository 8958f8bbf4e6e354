"""One thread runs the model: what people wait for comes first, and of several requests of one stream only the newest.

Example:

    engine.submit(work, stream="tab-1/paint")       # a Future; cancelled when a newer one of that stream arrives
    engine.submit_calm(steps())                     # a generator: one step whenever nobody waits
"""

import threading
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from ganpatch.errors import GanpatchError

LONGEST = 64

Work = Callable[[], Any]
Steps = Generator[None, None, Any]


class Busy(GanpatchError):
    """More requests wait than anybody can be waiting for."""


@dataclass(slots=True)
class _Job:
    work: Work
    stream: str | None
    future: "Future[Any]" = field(default_factory=Future)


@dataclass(slots=True)
class _Calm:
    steps: Steps
    stream: str | None
    future: "Future[Any]" = field(default_factory=Future)


class Engine:
    """A queue and its thread."""

    def __init__(self) -> None:
        self._waiting: deque[_Job] = deque()
        self._calm: deque[_Calm] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="ganpatch-model", daemon=True)
        self._thread.start()

    def submit(self, work: Work, *, stream: str | None = None) -> "Future[Any]":
        """Have `work` done; the one of the same stream that still waits is cancelled. Raise Busy when too many wait."""
        job = _Job(work, stream)
        with self._changed:
            for other in self._waiting:
                if stream is not None and other.stream == stream:
                    other.future.cancel()
            self._waiting = deque(other for other in self._waiting if not other.future.cancelled())
            if len(self._waiting) >= LONGEST:
                raise Busy("the studio is busy: too many requests wait for the model")
            self._waiting.append(job)
            self._changed.notify()
        return job.future

    def submit_calm(self, steps: Steps, *, stream: str | None = None) -> "Future[Any]":
        """Do the steps of a generator between other work; the result of the future is what it returns.

        What somebody looks at has a `stream`, and goes before what has none.
        """
        calm = _Calm(steps, stream)
        with self._changed:
            for other in self._calm:
                if stream is not None and other.stream == stream:
                    other.future.cancel()
            if len(self._calm) >= LONGEST:
                raise Busy("the studio is busy: too much waits for the model")
            self._calm.append(calm) if stream is None else self._calm.appendleft(calm)
            self._changed.notify()
        return calm.future

    def close(self) -> None:
        """End the thread after what it does now."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._calm or self._closed)
                if self._closed:
                    return
                job = self._waiting.popleft() if self._waiting else None
                calm = self._calm[0] if self._calm else None
            if job is not None:
                _do(job)
            elif calm is not None and _step(calm):
                with self._changed:
                    self._calm.remove(calm)


def _do(job: _Job) -> None:
    if not job.future.set_running_or_notify_cancel():
        return
    try:
        job.future.set_result(job.work())
    except BaseException as fault:  # whoever waits for it gets it
        job.future.set_exception(fault)


def _step(calm: _Calm) -> bool:
    """Do one step; return whether it was the last one."""
    if calm.future.cancelled():
        return True
    try:
        next(calm.steps)
    except StopIteration as end:
        if calm.future.set_running_or_notify_cancel():
            calm.future.set_result(end.value)
        return True
    except BaseException as fault:  # whoever waits for it gets it
        if calm.future.set_running_or_notify_cancel():
            calm.future.set_exception(fault)
        return True
    return False
