"""One streaming pass over seeds that can be interrupted and goes on where it was.

    seconds = run_pass(generator, job, seeds, partial=folder / "partial.safetensors")

A job watches layers, takes each batch, and gives its state as tensors. With `partial`, the state is kept there now
and then and when the pass is interrupted; the next pass with the same plan goes on from it.
"""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ganpatch.activations import BATCH, OnActivation, Progress, stream, unseen
from ganpatch.errors import GanpatchError
from ganpatch.files import replacing
from ganpatch.generator import Generator

SAVE_EVERY = 30.0  # seconds


class Job(Protocol):
    """What is done with the activations and images of a pass."""

    def described(self) -> dict[str, object]:
        """Say what the job is of; jobs of equal descriptions can continue each other."""

    def watch(self) -> Mapping[str, OnActivation]:
        """Give what takes the activations of each layer."""

    def finish_batch(self, seeds: Sequence[int], images: Tensor) -> None:
        """Take the images [N, 3, H, W] of a batch, after its activations."""

    def tensors(self) -> dict[str, Tensor]:
        """Give the state."""

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from a state."""


def run_pass(
    generator: Generator,
    job: Job,
    seeds: Sequence[int],
    *,
    batch_size: int = BATCH,
    progress: Progress = unseen,
    partial: Path | None = None,
) -> float:
    """Stream `seeds` through `job`; give the seconds that this took, with those before an interruption."""
    done, before = _restored(job, partial) if partial is not None and partial.exists() else (0, 0.0)
    started = saved = time.monotonic()

    def seconds() -> float:
        return before + time.monotonic() - started

    progress(done, len(seeds))
    try:
        for part, images in stream(generator, job.watch(), seeds[done:], batch_size=batch_size):
            assert images is not None
            job.finish_batch(part, images)
            done += len(part)
            progress(done, len(seeds))
            if partial is not None and time.monotonic() - saved > SAVE_EVERY:
                _save(job, partial, done, seconds())
                saved = time.monotonic()
    except KeyboardInterrupt:
        if partial is not None and done:
            _save(job, partial, done, seconds())
        raise
    return seconds()


def _save(job: Job, path: Path, done: int, seconds: float) -> None:
    state = {"plan": job.described(), "done": done, "seconds": seconds}
    with replacing(path) as temporary:
        save_file(job.tensors(), temporary, metadata={"ganpatch": json.dumps(state)})


def _restored(job: Job, path: Path) -> tuple[int, float]:
    """Restore what an interrupted pass kept; raise GanpatchError when that was of another job."""
    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads((file.metadata() or {})["ganpatch"])
            tensors = {key: file.get_tensor(key) for key in list(file.keys())}
        plan, done, seconds = state["plan"], int(state["done"]), float(state["seconds"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as fault:
        raise GanpatchError(f"'{path}' is broken; remove it to start anew: {fault}") from fault
    for name, wanted in job.described().items():
        if plan.get(name) != wanted:
            raise GanpatchError(f"cannot resume: the interrupted run had {name} {plan.get(name)}, this one {wanted}")
    job.restore(tensors)
    return done, seconds
