"""One streaming pass over seeds, by one process or several, that can be interrupted and resumed.

    seconds = run_pass(generator, job, seeds, partial=folder / "partial.safetensors", group=group)

A job watches layers, receives each batch, and returns its state as tensors, which can be merged with those of others.
With `partial`, every process saves its state to a file now and then and when the pass is interrupted; the next pass
with the same plan resumes from all these files, with any number of processes.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from ganpatch.disk.atomic_files import remove
from ganpatch.errors import explained
from ganpatch.forward.activations import BATCH, OnActivation, Progress, stream, unseen
from ganpatch.forward.interrupts import waiting_for_batches
from ganpatch.forward.processes import ALONE, Group
from ganpatch.forward.saved_state import SavedState, broken, load_partial, partial_of, partials
from ganpatch.generator.generator import Generator


class Job(Protocol):
    """The interface of what is done with the activations and images of a pass."""

    def described(self) -> dict[str, object]:
        """Return what the job is of; a job can resume another of equal description."""

    def begin(self, group: Group) -> None:
        """Prepare the pass, together; what was saved is merged by then."""

    def watch(self) -> Mapping[str, OnActivation]:
        """Return the callback for each layer."""

    def finish_batch(self, seeds: Sequence[int], images: Tensor) -> None:
        """Receive the images [N, 3, H, W] of a batch, after its activations."""

    def tensors(self) -> dict[str, Tensor]:
        """Return the state."""

    def merge(self, tensors: Mapping[str, Tensor]) -> None:
        """Merge the state of a part that was done elsewhere, or before an interruption."""


@torch.inference_mode()
def run_pass(
    generator: Generator,
    job: Job,
    seeds: Sequence[int],
    *,
    batch_size: int = BATCH,
    progress: Progress = unseen,
    partial: Path | None = None,
    group: Group = ALONE,
) -> float:
    """Stream `seeds` through `job` and return the seconds that it took, with those before an interruption.

    At the end, the job of every process has the complete state. Raises Lost if a process of the group dies.
    """
    kept = _Kept(partial, job, group, len(seeds))
    own = _own_places(kept.resume(), batch_size, group)
    job.begin(group)
    kept.start()
    report, taken = group.counting(progress), iter(own.split(batch_size))
    if group.is_first:
        progress(kept.count, len(seeds))
    with waiting_for_batches() as stop:
        try:
            for part, images in stream(generator, job.watch(), [seeds[i] for i in own.tolist()], batch_size=batch_size):
                assert images is not None
                job.finish_batch(part, images)
                kept.add(next(taken))
                report(kept.count, len(seeds))
                stop.if_asked()
        except KeyboardInterrupt:
            if not stop.at_once:
                kept.save()
            raise
    if group.size > 1:
        kept.save()
        _merge_all(job, group)
        progress(len(seeds), len(seeds))
    return kept.seconds


def _own_places(done: Tensor, batch_size: int, group: Group) -> Tensor:
    """Return the places of the seeds that this process takes, of those not `done` [n]: whole batches."""
    batches = group.share((~done).nonzero().flatten().split(batch_size))
    return torch.cat(list(batches)) if batches else torch.zeros(0, dtype=torch.int64)


def _merge_all(job: Job, group: Group) -> None:
    for rank, tensors in enumerate(group.gathered(job.tensors())):
        if rank != group.rank:
            job.merge(tensors)


class _Kept:
    """Which of `n` images this process's job has taken, and the file that keeps its state."""

    def __init__(self, path: Path | None, job: Job, group: Group, n: int) -> None:
        self._shared, self._job, self._group = path, job, group
        self._path = None if path is None else partial_of(path, group.rank)
        self._done, self.count = torch.zeros(n, dtype=torch.bool), 0
        self._before, self._started = 0.0, time.monotonic()
        self._saved = SavedState(self._path, job.described())

    @property
    def seconds(self) -> float:
        """How long it took, with what was before an interruption."""
        return self._before + time.monotonic() - self._started

    def resume(self) -> Tensor:
        """Merge all that was saved into the job of the first process; return what is done [n], on all processes."""
        if self._group.is_first and self._shared is not None:
            files = partials(self._shared)
            for path in files:
                self._merge(path)
            if len(files) > 1:
                self.save()  # before another process writes where one of the files is
                for path in files:
                    if path != self._path:
                        remove(path)
        return self._group.from_first({"done": self._done})["done"]

    def start(self) -> None:
        """Start measuring time."""
        self._started = time.monotonic()

    def add(self, places: Tensor) -> None:
        """Report that these are done, and save them if it is time."""
        self._done[places] = True
        self.count += len(places)
        if self._saved.is_due:
            self.save()

    def save(self) -> None:
        """Save the job's state, if there is any."""
        if self._path is not None and self.count:
            self._saved.write({**self._job.tensors(), "done": self._done}, {"seconds": self.seconds})

    def _merge(self, path: Path) -> None:
        tensors, state = load_partial(path, self._job.described())
        with explained(broken(path)):
            done = tensors.pop("done")
            if not (done & self._done).any():
                self._job.merge(tensors)
            elif (done & ~self._done).any():
                raise ValueError("what it holds was done twice")
            self._done |= done
            self.count = int(self._done.sum())
            self._before = max(self._before, float(state["seconds"]))
