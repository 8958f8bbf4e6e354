"""Work in a process of its own: tracing a model changes how modules run in the whole process, and images drawn
meanwhile would be wrong; a process can also be ended at any moment.

Example:

    in_child(rank_task, report, model="churches", loading={}, layer="layer4", n=1000, folder=Path("run"))
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

import torch

from ganpatch.errors import GanpatchError
from ganpatch.forward.activations import Progress

_GLANCE = 0.1  # seconds between looks at whether the work is still wanted

Task = Callable[..., dict[str, Any]]


def in_child(task: Task, report: Progress, **given: Any) -> dict[str, Any]:
    """Do a task in a child; what `report` raises ends it. Raise GanpatchError where the task does, or dies."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_work, args=(theirs, task, given), daemon=True)
    child.start()
    theirs.close()
    progress = (0, 0)
    try:
        while True:
            report(*progress)
            if ours.poll(_GLANCE):
                kind, content = ours.recv()
                if kind == "done":
                    found: dict[str, Any] = content
                    return found
                if kind == "refused":
                    raise GanpatchError(content)
                progress = content
    except EOFError:
        raise GanpatchError("the process that did this has died; is there enough memory?") from None
    finally:
        child.terminate()
        child.join()
        ours.close()


def _work(pipe: Connection, task: Task, given: Mapping[str, Any]) -> None:
    """Run in the child: the parent decides when it ends, and those who look at the page go first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(5)
    torch.set_num_threads(max(1, torch.get_num_threads() - 1))
    try:
        pipe.send(("done", task(lambda done, total: pipe.send(("progress", (done, total))), **given)))
    except GanpatchError as fault:
        pipe.send(("refused", str(fault)))
    except Exception as fault:  # the page shows it; the child can report it in no other way
        pipe.send(("refused", f"unexpected {type(fault).__name__}: {fault}"))
