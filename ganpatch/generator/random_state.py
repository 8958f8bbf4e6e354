"""Torch's global random state, left as it was found.

Modules draw their initial weights, and some of them noise, from it, whether that is wanted or not:

    with random_state_kept():
        module = Generator()                    # the caller's next random number is what it would have been
    with random_state_kept(seed=0):
        module(z)                               # the same noise in every such block
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def random_state_kept(seed: int | None = None) -> Iterator[None]:
    """Restore the random state of the CPU and of all CUDA devices in use when the block ends; start it at `seed`.

    Also a decorator: `@random_state_kept()`.
    """
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        if seed is not None:
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would also reach devices not in use yet
            if devices:
                torch.cuda.manual_seed_all(seed)
        yield
