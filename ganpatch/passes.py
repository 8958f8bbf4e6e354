"""One streaming pass over seeds that can be interrupted and goes on where it was.

    seconds = run_pass(generator, job, seeds, partial=folder / "partial.safetensors")

A job watches layers, takes each batch, and gives its state as tensors. With `partial`, the state is kept there now
and then and when the pass is interrupted; the next pass with the same plan goes on from it.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from torch import Tensor

from ganpatch.activations import BATCH, OnActivation, Progress, stream, unseen
from ganpatch.generator import Generator
from ganpatch.partial import SAVE_EVERY, load_partial, save_partial


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
    done, before = 0, 0.0
    if partial is not None and partial.exists():
        tensors, state = load_partial(partial, job.described())
        job.restore(tensors)
        done, before = int(state.get("done", 0)), float(state.get("seconds", 0))
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
            if partial is not None and done < len(seeds) and time.monotonic() - saved > SAVE_EVERY:
                save_partial(partial, job.described(), job.tensors(), {"done": done, "seconds": seconds()})
                saved = time.monotonic()
    except KeyboardInterrupt:
        if partial is not None and 0 < done < len(seeds):  # what goes on needs an activation to go on with
            save_partial(partial, job.described(), job.tensors(), {"done": done, "seconds": seconds()})
        raise
    return seconds()
