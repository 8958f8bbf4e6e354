"""How ranking grows: over images, units, layers and processes. Ratios to the bare forward passes of the same images.

Over processes: images per second of the whole, by `torchrun -m ganpatch rank`, whose start is not counted.
"""

import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

import ganpatch
from ganpatch.ranking.ranker import rank
from ganpatch.ranking.result import read_manifest
from tools.benchmarks.measure import CASES, Case, How, bare, cases, ratios

IMAGES, UNITS, PROCESSES = (250, 1000, 4000), (64, 256, 1024), (1, 2)
_ALL = ("main.2", "main.5", "main.8", "main.11", "main.1", "main.4", "main.7", "main.10")


def scaling(how: How) -> dict[str, dict[str, str]]:
    """Return a table per what grows."""
    torch.set_num_threads(1)
    how = replace(how, repeats=1)
    name, case = next(reversed(cases().items()))
    generator = case.load(how)
    layers = {"churches": [*case.four, "layer1", "layer3", "layer5", "layer7"]}.get(name, _ALL)
    return {
        f"images, 1 layer of {name} [x bare]": {f"{n:,}": over(generator, [case.one], n, how) for n in IMAGES},
        f"layers of {name}, {case.images:,} images [x bare]": {
            str(count): over(generator, layers[:count], case.images, how) for count in (1, 2, 4, 8)
        },
        "units, a layer of 16x16 maps, 1,000 images [x bare]": {
            f"{units:,}": over(wide(units, how), ["2"], 1000, how) for units in UNITS
        },
        f"processes of one thread, {os.cpu_count()} cores, churches [images/s]": processes(CASES["churches"], how),
    }


def over(generator: ganpatch.Generator, layers: list[str], images: int, how: How) -> str:
    def limit() -> None:
        bare(generator, images, how.batch_size)

    jobs = {"rank": lambda: rank(generator, layers, range(images), batch_size=how.batch_size)}
    return f"{ratios(limit, jobs, how)['rank']:.2f}"


def wide(units: int, how: How) -> ganpatch.Generator:
    """Make a generator that does as much per unit whatever their number."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Unflatten(1, (16, 1, 1)),
        nn.ConvTranspose2d(16, units, 16),
        nn.ReLU(),
        nn.ConvTranspose2d(units, 16, 4, 2, 1),
        nn.ReLU(),
        nn.Conv2d(16, 3, 3, 1, 1),
    )
    return how.placed(ganpatch.load(module, latent="normal:16"))


def processes(case: Case, how: How) -> dict[str, str]:
    found = {}
    for count in PROCESSES:
        with tempfile.TemporaryDirectory() as folder:
            torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
            command = ["-m", "ganpatch", "rank", case.model, "--layer", case.one, "-n", str(2 * case.images)]
            command += ["--device", how.device, "--batch-size", str(how.batch_size), "-o", f"{folder}/run"]
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            subprocess.run([*torchrun, *command], check=True, capture_output=True, env=environment)
            manifest = read_manifest(Path(folder) / "run")
        found[str(count)] = f"{manifest.n / manifest.seconds:.0f}"
    return found
