"""How the parts of tools/benchmarks/bench.py measure: ratios in one run, medians of interleaved repeats.

Absolute figures drift on shared machines; what runs before and after a job drifts with it.
"""

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

import ganpatch
from ganpatch.forward.activations import batched
from ganpatch.generator.device import Compute
from tools.patches.fetch_faces import FACES

Job = Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A generator to measure with: one of its layers, four of them, and how many images."""

    model: str
    one: str
    four: tuple[str, ...]
    images: int

    def load(self, how: "How") -> ganpatch.Generator:
        return how.placed(ganpatch.load(self.model))


@dataclass(frozen=True, kw_only=True)
class How:
    """With how many repeats, where, in batches of how many images, how many of them if not the case's own."""

    repeats: int = 3
    device: str = "cpu"
    batch_size: int = 32
    images: int | None = None

    def placed(self, generator: ganpatch.Generator) -> ganpatch.Generator:
        return generator.placed(Compute(device=self.device))

    def seconds(self, job: Job) -> float:
        """Processor time of this process on the CPU, where others may run; wall-clock time on a device."""
        if self.device == "cpu":
            started = time.process_time()
            job()
            return time.process_time() - started
        torch.cuda.synchronize()
        started = time.perf_counter()
        job()
        torch.cuda.synchronize()
        return time.perf_counter() - started


CASES = {
    "churches": Case(model="churches", one="layer4", four=("layer2", "layer4", "layer6", "layer8"), images=384),
    "face DCGAN": Case(model=str(FACES), one="main.5", four=("main.2", "main.5", "main.8", "main.11"), images=1000),
}


def cases() -> dict[str, Case]:
    """Return the cases whose weights are there."""
    return {name: case for name, case in CASES.items() if case.model == "churches" or Path(case.model).exists()}


def bare(generator: ganpatch.Generator, images: int, batch_size: int) -> None:
    """The limit: the forward passes alone."""
    with torch.inference_mode():
        for seeds in batched(range(images), batch_size):
            generator.module(*generator.inputs_of(seeds))


def ratios(limit: Job, jobs: Mapping[str, Job], how: How) -> dict[str, float]:
    """Return the time of each job over that of `limit`, which runs between all of them."""
    found: dict[str, list[float]] = {name: [] for name in jobs}
    limit()
    for _ in range(how.repeats):
        before = how.seconds(limit)
        for name, job in jobs.items():
            own, after = how.seconds(job), how.seconds(limit)
            found[name].append(own / ((before + after) / 2))
            before = after
    return {name: statistics.median(values) for name, values in found.items()}


def machine() -> str:
    """Describe the machine in a line."""
    models = [line.partition(":")[2].strip() for line in cpu_lines() if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    card = f"; {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    system = f"{platform.system()}, Python {platform.python_version()}, torch {torch.__version__}"
    return f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GB{card}; {system}"


def cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
