"""Where and how forward passes run: on which device, in which number format, compiled or not.

    generator = generator.placed(Compute(device="cuda", dtype="bfloat16"))
    generator.compute.device_name               # "cuda:0 (NVIDIA H100)"

The number format is that of autocast: weights stay float32, and so do statistics. The layout `channels_last` makes
convolutions faster on most processors, and changes their last digits. What is asked for is a value that needs no torch.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from ganpatch.errors import GanpatchError, near_miss
from ganpatch.option_values import DTYPES, Dtype


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """How forward passes run; `device` is "cpu", "cuda" or "cuda:1"."""

    device: str = "cpu"
    dtype: Dtype = "float32"
    channels_last: bool = False
    compile: bool = False

    def resolved(self) -> "Compute":
        """Return this with the exact device, "cuda:0" for "cuda"; raise GanpatchError when there is none.

        Each process that torchrun started on a machine gets a CUDA device of its own.
        """
        import torch

        if self.dtype not in DTYPES:
            raise GanpatchError(
                f"dtype '{self.dtype}' is not one of {', '.join(DTYPES)}{near_miss(self.dtype, DTYPES)}"
            )
        here = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
        known = ["cpu", "cuda", *here]
        if self.device not in known:
            if not here and re.fullmatch(r"cuda(:\d+)?", self.device):
                raise GanpatchError(f"device '{self.device}': no CUDA device here; available: cpu")
            raise GanpatchError(
                f"no device '{self.device}' here; available: {', '.join(['cpu', *here])}{near_miss(self.device, known)}"
            )
        return replace(self, device=_own(here) if self.device == "cuda" else self.device)

    @contextmanager
    def casting(self) -> Iterator[None]:
        """Run the block in this number format."""
        import torch

        if self.dtype == "float32":
            yield
        else:
            with torch.autocast(torch.device(self.device).type, dtype=getattr(torch, self.dtype)):
                yield

    def __str__(self) -> str:
        return f"on {self.device} in {self.dtype}{', channels last' if self.channels_last else ''}"

    @property
    def device_name(self) -> str:
        """Return the device, with the name of the graphics card."""
        import torch

        return f"{self.device} ({torch.cuda.get_device_name(self.device)})" if self.device != "cpu" else "cpu"


def _own(here: list[str]) -> str:
    if not here:
        raise GanpatchError("device 'cuda': no CUDA device here; available: cpu")
    place = int(os.environ.get("LOCAL_RANK", 0))
    if place >= len(here):
        raise GanpatchError(
            f"process {place} has no CUDA device of its own, of {len(here)} here; "
            f"start at most --nproc-per-node {len(here)}"
        )
    return here[place]
