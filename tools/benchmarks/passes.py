"""What ranking, dissecting and evaluating cost over the bare forward passes, and the memory that ranking takes.

With and without its page; one layer and four. Memory is the peak of a process of its own.
"""

import copy
import resource
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

import ganpatch
from ganpatch.cli import _keep_freed_memory
from ganpatch.dissection.dissector import dissect
from ganpatch.forward.activations import batched
from ganpatch.generator.device import Compute
from ganpatch.option_values import EVALUATION_SEEDS
from ganpatch.patch.edit import Edit
from ganpatch.patch.patch_file import Model, Patch
from ganpatch.ranking.ranker import rank
from ganpatch.runs.ranking_run import rank_to_folder
from ganpatch.segmenters.loading import load_segmenter
from tools.benchmarks.measure import Case, How, bare, ratios


def ranking(case: Case, how: How) -> dict[str, str]:
    torch.set_num_threads(1)
    generator, seeds = case.load(how), range(case.images)
    other_layout = replace(generator, module=copy.deepcopy(generator.module)).placed(
        Compute(device=how.device, channels_last=True)
    )
    given = {"batch_size": how.batch_size}

    def to_page() -> None:
        with tempfile.TemporaryDirectory() as folder:
            rank_to_folder(generator, Path(folder) / "run", [case.one], seeds, **given)

    def limit() -> None:
        bare(generator, case.images, how.batch_size)

    jobs = {
        "rank, 1 layer": lambda: rank(generator, [case.one], seeds, **given),
        "rank, 4 layers": lambda: rank(generator, case.four, seeds, **given),
        "rank to finished review page": to_page,
        "rank, 1 layer, channels last": lambda: rank(other_layout, [case.one], seeds, **given),
    }
    limit()
    speed = case.images / how.seconds(limit)
    found = {f"{name} [x bare]": f"{ratio:.2f}" for name, ratio in ratios(limit, jobs, how).items()}
    return {"bare forward [images/s, 1 thread]": f"{speed:.0f}", **found}


def evaluating(case: Case, how: How) -> dict[str, str]:
    """An evaluation of 20 units with the default options, its features included, over the bare passes of its images."""
    torch.set_num_threads(1)
    generator, images = case.load(how), len(EVALUATION_SEEDS)
    channels = next(fact.units for fact in ganpatch.list_layers(generator) if fact.name == case.one)
    edit = Edit(id="e", layer=case.one, channels=channels, units=range(20))
    patch = Patch(name="bench", model=Model.of(generator.name, generator.fingerprint), edits=[edit])
    jobs = {"evaluate": lambda: ganpatch.evaluate(generator, patch)}
    found = ratios(lambda: bare(generator, images, how.batch_size), jobs, replace(how, repeats=1))
    return {f"{name} [x bare]": f"{ratio:.2f}" for name, ratio in found.items()}


def dissecting(case: Case, how: How) -> dict[str, str]:
    """Against 10 concepts, thresholds included, over the bare forward passes of generator and segmenter."""
    torch.set_num_threads(1)
    generator = case.load(how)
    segmenter = load_segmenter("churches", generator)

    def limit() -> None:
        with torch.inference_mode():
            for seeds in batched(range(case.images), how.batch_size):
                segmenter.labels(generator.sample(seeds))

    jobs = {"dissect": lambda: dissect(generator, segmenter, [case.one], range(case.images), batch_size=how.batch_size)}
    ratio = ratios(limit, jobs, how)["dissect"]
    return {"dissect, 1 layer, 10 concepts [x bare, with segmenter]": f"{ratio:.2f}"}


def memory(case: Case, _how: How) -> dict[str, str]:
    """The peaks of processes that rank n images, and four times as many, to a page."""
    peaks = []
    for images in (case.images, 4 * case.images):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "tools.benchmarks.passes", case.model, case.one, str(images), folder]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
        peaks.append(done.stdout.split()[-1])
    return {"rank to page, peak memory for n and 4 n images [MB]": " and ".join(peaks)}


def main() -> None:
    model, layer, images, folder = sys.argv[1:]
    _keep_freed_memory()
    torch.set_num_threads(1)
    rank_to_folder(ganpatch.load(model), Path(folder) / "run", [layer], range(int(images)))
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f}")


if __name__ == "__main__":
    main()
