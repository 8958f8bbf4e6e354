"""Long work in the background, one piece after another, on a copy of the model: nobody who looks waits for it.

Example:

    job = jobs.start("rank", "ranking layer4", lambda report: ...)      # report(done, total)
    jobs.all()                                                          # what the page shows
"""

import itertools
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Literal

from pydantic import BaseModel

from ganpatch.errors import GanpatchError
from ganpatch.forward.activations import Progress

LONGEST = 20
_KEPT = 50

JobState = Literal["waiting", "running", "done", "failed", "cancelled"]
Work = Callable[[Progress], dict[str, Any]]


class JobView(BaseModel):
    """A job as the page sees it."""

    id: int
    kind: str
    label: str
    state: JobState
    done: int
    total: int
    seconds: float
    error: str
    result: dict[str, Any]


class _Cancelled(Exception):
    pass


@dataclass(slots=True)
class _Job:
    id: int
    kind: str
    label: str
    work: Work
    of: str
    state: JobState = "waiting"
    done: int = 0
    total: int = 0
    seconds: float = 0.0
    error: str = ""
    result: dict[str, Any] = field(default_factory=dict)
    unwanted: bool = False
    began: float = 0.0

    def report(self, done: int, total: int) -> None:
        self.done, self.total, self.seconds = done, total, round(monotonic() - self.began, 1)
        if self.unwanted:
            raise _Cancelled

    def view(self) -> JobView:
        names = ("id", "kind", "label", "state", "done", "total", "seconds", "error", "result")
        return JobView(**{name: getattr(self, name) for name in names})


class Jobs:
    """A queue of jobs and the thread that does them; the last ones stay visible."""

    def __init__(self) -> None:
        self._jobs: dict[int, _Job] = {}
        self._waiting: deque[_Job] = deque()
        self._numbers = itertools.count(1)
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="ganpatch-jobs", daemon=True).start()

    def start(self, kind: str, label: str, work: Work, *, of: str = "") -> JobView:
        """Queue a job, or return the same one if it still waits or runs; raise GanpatchError when too many wait.

        Jobs of other versions `of` the patch are others, though they are called the same.
        """
        with self._changed:
            for job in self._jobs.values():
                if (job.kind, job.label, job.of) == (kind, label, of) and job.state in ("waiting", "running"):
                    return job.view()
            if len(self._waiting) >= LONGEST:
                raise GanpatchError("too many jobs wait already")
            job = _Job(next(self._numbers), kind, label, work, of)
            self._jobs[job.id] = job
            for old in list(self._jobs)[:-_KEPT]:
                del self._jobs[old]
            self._waiting.append(job)
            self._changed.notify()
            return job.view()

    def all(self) -> list[JobView]:
        """Return all jobs that are remembered, oldest first."""
        with self._changed:
            return [job.view() for job in self._jobs.values()]

    def cancel(self, number: int) -> JobView | None:
        """Cancel a job: at once while it waits, at its next report while it runs."""
        with self._changed:
            job = self._jobs.get(number)
            if job is None:
                return None
            job.unwanted = True
            if job in self._waiting:
                self._waiting.remove(job)
                job.state = "cancelled"
            return job.view()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                job = self._waiting.popleft()
                job.state, job.began = "running", monotonic()
            try:
                job.result = job.work(job.report)
                job.state = "done"
            except _Cancelled:
                job.state = "cancelled"
            except GanpatchError as fault:
                job.state, job.error = "failed", str(fault)
            except Exception as fault:  # a job never takes the studio down
                job.state, job.error = "failed", f"unexpected {type(fault).__name__}: {fault}"
