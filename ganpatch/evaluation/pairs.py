"""The pairs of a comparison by eye: which seeds, on which side, and their pictures.

    comparison = draw_pairs(generator, patch, Path("judged"), PairChoices(pairs=40))

Half of the pairs of the patch, and of each baseline, are of the images that most activate its own units, half of all
images. Sides and order are random; no file name tells which image is which.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from PIL import Image
from torch import Tensor

from ganpatch.disk.atomic_files import replacing_together
from ganpatch.disk.json_files import write_section
from ganpatch.errors import GanpatchError
from ganpatch.evaluation.baselines import random_edits
from ganpatch.evaluation.judging import COMPARISON, PAIRS, Comparison, Pair, Where
from ganpatch.evaluation.measuring import Layers, most_active, watch_layers
from ganpatch.forward.activations import Progress, unseen
from ganpatch.generator.generator import Generator
from ganpatch.option_values import JUDGING_SEEDS
from ganpatch.pages.image_grids import save_picture, to_pixels
from ganpatch.patch.applying import applied, edits_applied
from ganpatch.patch.edit import Edit
from ganpatch.patch.patch_file import Patch

Kind = Literal["patch", "baseline"]
Drawn = tuple[Pair, Sequence[Edit]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairChoices:
    """How many pairs of the patch, and as many of baselines; from which seeds; of how many different baselines."""

    pairs: int = 40
    seeds: Sequence[int] = JUDGING_SEEDS
    baselines: int = 10
    allow_other_weights: bool = False


def draw_pairs(
    generator: Generator, patch: Patch, folder: Path, choices: PairChoices, *, progress: Progress = unseen
) -> Comparison:
    """Draw the pictures of a comparison into `folder`, and write its pairs, all or nothing.

    Raises GanpatchError when there are too few seeds.

    `folder` must exist. There are as many pairs of baselines as of the patch.
    """
    with applied(generator.module, patch, allow_other_weights=choices.allow_other_weights):
        pass
    seeds = _unused(patch, choices)
    layers = watch_layers(generator, {edit.layer for edit in patch.edits}, seeds, progress)
    drawn = _pairs_of(patch.edits, "patch", layers, seeds, choices.pairs)
    for number in range(choices.baselines):
        other = random_edits(patch.edits, layers.levels, number)
        drawn += _pairs_of(other, "baseline", layers, seeds, _share(choices, number))
    secrets.SystemRandom().shuffle(drawn)
    made = Comparison(
        id=secrets.token_hex(8), patch=patch.digest, name=patch.name, pairs=tuple(pair for pair, _ in drawn)
    )
    with replacing_together(folder, COMPARISON) as room:
        for pair, edits in drawn:
            _draw(generator, pair, edits, room)
        write_section(room / COMPARISON, made)
    return made


def _unused(patch: Patch, choices: PairChoices) -> list[int]:
    """Return the seeds that the patch's evidence does not name."""
    used = patch.evidence.named_seeds()
    free = [seed for seed in choices.seeds if not any(seed in span for span in used)]
    if len(free) < 2 * choices.pairs:
        raise GanpatchError(
            f"{len(free)} unused seeds are too few for {choices.pairs} pairs; give at least {2 * choices.pairs} "
            "that the patch's evidence does not name, as --seeds"
        )
    return free


def _share(choices: PairChoices, number: int) -> int:
    """Return how many pairs baseline `number` gets, so that all together have as many as the patch."""
    each, more = divmod(choices.pairs, choices.baselines)
    return each + (number < more)


def _pairs_of(edits: Sequence[Edit], kind: Kind, layers: Layers, seeds: Sequence[int], count: int) -> list[Drawn]:
    """Choose seeds for `count` pairs of one set of edits: half among its most active images, half among all."""
    rows: dict[Where, Tensor] = {"most": most_active(layers.peaks, edits), "all": torch.arange(len(seeds))}
    made: list[Drawn] = []
    for where, of_kind in rows.items():
        few = count - count // 2 if where == "most" else count // 2
        for row in secrets.SystemRandom().sample(of_kind.tolist(), min(few, len(of_kind))):
            side: Literal["left", "right"] = "left" if secrets.randbelow(2) else "right"
            made.append((Pair(id=secrets.token_hex(8), seed=seeds[row], where=where, edit=kind, edited=side), edits))
    return made


@torch.inference_mode()
def _draw(generator: Generator, pair: Pair, edits: Sequence[Edit], folder: Path) -> None:
    before = generator.sample([pair.seed])
    with edits_applied(generator.module, edits):
        after = generator.sample([pair.seed])
    left, right = (after, before) if pair.edited == "left" else (before, after)
    (folder / PAIRS).mkdir(exist_ok=True)
    for side, image in (("left", left), ("right", right)):
        save_picture(Image.fromarray(to_pixels(image)[0]), folder / PAIRS / f"{pair.id}-{side}.png")
