"""Compare images of the bundled generator with what they should be: which faults a patch takes away, at what cost.

    python -m tools.patches.truth patches/churches.yaml
    python -m tools.patches.truth patches/churches.yaml --seeds 10000-11999 --baselines 20 --json

The latent of a seed describes a scene, its faults and their masks (ganpatch/families/churches/scenes.py). For every
kind of fault, of the images that are described with it: the share in which it is visible (inside its mask the image is
nearer to the faulty scene than to the clean one), and the mean absolute error to the clean scene inside and outside its
mask, of 255. The last row has the images without any fault. Each number is shown before, after, and as the range of
random-unit baselines.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch

import ganpatch
from ganpatch import Edit, Generator, Patch
from ganpatch.evaluation.baselines import random_edits
from ganpatch.evaluation.measuring import watch_layers
from ganpatch.families.churches.faults import FAULTS
from ganpatch.families.churches.scenes import Scene, draw_slots
from ganpatch.forward.activations import batched
from ganpatch.number_ranges import parse_spans
from ganpatch.patch.applying import edits_applied
from tools.training.church_measures import fault_strengths

NONE = "no fault"
VISIBLE = 0.5  # strength of a fault from which it counts as visible
CLEAN = 120  # images without a fault that are compared


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """Of the images with one kind of fault: their number, the share where it is visible, errors inside and outside."""

    images: int
    visible: float
    inside: float
    outside: float


def compare_with_truth(generator: Generator, edits: Sequence[Edit], seeds: Sequence[int]) -> dict[str, Truth]:
    """Measure the images of `seeds` under `edits` against the scenes that their latents describe."""
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in (*FAULTS, NONE)}
    for part in batched(seeds, 32):
        with edits_applied(generator.module, edits):
            images = generator.sample(part).permute(0, 2, 3, 1).mul(255).double().numpy()
        for image, scene in zip(images, _scenes(generator, part), strict=True):
            for name in scene.faults or [NONE]:
                found[name].append(_compared(image, scene, name))
    return {name: _summary(rows) for name, rows in found.items() if rows}


def chosen_seeds(generator: Generator, seeds: Sequence[int]) -> list[int]:
    """Return the seeds whose scenes have a fault, and the first CLEAN of the others."""
    chosen, clean = [], 0
    for part in batched(seeds, 32):
        for seed, scene in zip(part, _scenes(generator, part), strict=True):
            if scene.faults or clean < CLEAN:
                chosen.append(seed)
                clean += not scene.faults
    return chosen


def _scenes(generator: Generator, seeds: Sequence[int]) -> list[Scene]:
    latents, *_ = generator.inputs_of(seeds)
    return [draw_slots(latent.numpy()) for latent in latents]


def _compared(image: np.ndarray, scene: Scene, name: str) -> tuple[float, float, float]:
    gap = np.abs(image - scene.clean).mean(-1)
    if name == NONE:
        return 0.0, 0.0, float(gap.mean())
    mask = scene.faults[name]
    outside = ~np.any(list(scene.faults.values()), 0)
    return float(fault_strengths(image, scene)[name] > VISIBLE), float(gap[mask].mean()), float(gap[outside].mean())


def _summary(rows: list[tuple[float, float, float]]) -> Truth:
    visible, inside, outside = np.array(rows).mean(0)
    return Truth(images=len(rows), visible=float(visible), inside=float(inside), outside=float(outside))


def measured(generator: Generator, patch: Patch, seeds: Sequence[int], baselines: int) -> list[dict[str, Truth]]:
    """Return what is true before, after, and with each baseline."""
    layers = watch_layers(generator, {edit.layer for edit in patch.edits}, range(256))
    others = [random_edits(patch.edits, layers.levels, number) for number in range(baselines)]
    return [compare_with_truth(generator, edits, seeds) for edits in ((), patch.edits, *others)]


def table(found: list[dict[str, Truth]]) -> list[str]:
    """Return the figures as a Markdown table."""
    before, after, *others = found
    head = ["fault", "images", "visible", "random units", "error inside its mask", "random units", "error outside"]
    rows = [f"| {' | '.join(head)} | random units |"]
    rows.append("|---" * 8 + "|")
    for name, one in before.items():
        cells = [name, str(one.images)]
        for field, form in (("visible", "{:.0%}"), ("inside", "{:.1f}"), ("outside", "{:.2f}")):
            values = [form.format(getattr(of[name], field)) for of in (before, after)]
            spread = sorted(getattr(other[name], field) for other in others)
            span = f"{form.format(spread[0])} to {form.format(spread[-1])}" if spread else ""
            empty = name == NONE and field != "outside"
            cells += ["", ""] if empty else [" to ".join(values), span]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path), metavar="PATCH.yaml")
@click.option("--seeds", default="10000-10599", show_default=True)
@click.option("--baselines", default=20, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(path: Path, seeds: str, baselines: int, as_json: bool) -> None:
    torch.set_flush_denormal(True)
    generator, patch = ganpatch.load("churches"), Patch.load(path)
    patch.evidence.refuse_chosen(parse_spans(seeds, what="seed"))
    found = measured(generator, patch, chosen_seeds(generator, parse_spans(seeds, what="seed")), baselines)
    if as_json:
        print(json.dumps([{name: vars_of(one) for name, one in of.items()} for of in found]))
    else:
        print("\n".join(table(found)))


def vars_of(one: Truth) -> dict[str, float]:
    return {name: round(getattr(one, name), 4) for name in ("images", "visible", "inside", "outside")}


if __name__ == "__main__":
    main()
