"""Is a generator better with a patch: than without it, and than with as many random units?

    evaluation = evaluate(generator, patch)
    evaluation.verdict                      # one sentence
    evaluation.evidence()                   # for the patch file

Figures are of all images, and of the quarter that most activates the patched units. Damage is read on the half that
activates them least: those images were fine. The seeds are not those that the patch was chosen on.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganpatch.errors import GanpatchError
from ganpatch.evaluation.metrics import Damage, Distances, damage, distances, perceptual_distance
from ganpatch.families.churches.scenes import draw
from ganpatch.finding.image_features import Features, load_features
from ganpatch.finding.typical import Usual
from ganpatch.forward.activations import Progress, batched, stream, unseen
from ganpatch.generator.generator import Generator
from ganpatch.number_ranges import format_spans, parse_spans
from ganpatch.pages.image_grids import Pixels, read_images, thumbnails
from ganpatch.patch.applying import applied, edits_applied
from ganpatch.patch.edit import Edit
from ganpatch.patch.patch_file import Patch

SEEDS = range(20_000, 21_000)
OWN, SCENES = 1_100_000_000, 2_010_000  # first seeds of the reference: own images; held-out scenes
MOST, LEAST = 0.25, 0.5  # shares of the images that activate the patched units most, least
BATCH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """How to evaluate: on which `seeds`, against what, and with how many draws of random units."""

    seeds: Sequence[int] = SEEDS
    real: Path | None = None
    references: int = 1000
    features: Features
    draws: int = 5
    lpips: bool = False
    allow_other_weights: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What was measured: `before`, `after` and `random` distances on "all" images and on the "most" activating ones."""

    patch: Patch
    choices: Choices
    reference: str
    before: Mapping[str, Distances]
    after: Mapping[str, Distances]
    random: Mapping[str, Sequence[Distances]]
    fine: Mapping[str, float]
    damage: Damage
    activity: Tensor
    pictures: tuple[Pixels, Pixels]

    @property
    def is_better(self) -> bool:
        """Return whether the distance falls on the most activating images, and below that of every random draw."""
        after, others = self.after["most"].frechet, [one.frechet for one in self.random["most"]]
        return after < min([self.before["most"].frechet, *others])

    @property
    def verdict(self) -> str:
        """Describe in one sentence what the figures say."""
        before, after = self.before["most"].frechet, self.after["most"].frechet
        others = [one.frechet for one in self.random["most"]]
        span = f"{min(others):.3g} to {max(others):.3g} with as many random units" if others else "no random draws"
        moved = f"from {before:.3g} to {after:.3g} ({span})"
        name = self.choices.features.distance_name
        kept = f"images that were fine keep an SSIM of {self.fine['ssim']:.3f}" if self.fine else "no image was fine"
        if self.is_better:
            return f"Better: the {name} of the images that most activate its units falls {moved}, and {kept}."
        if after < before:
            return f"Not shown: the {name} falls {moved}, and random units do as well; {kept}."
        return f"Worse: the {name} of the images that most activate its units goes {moved}; {kept}."

    def evidence(self) -> dict[str, Any]:
        """Return the figures for a patch file."""
        choices = self.choices
        found: dict[str, Any] = {
            "made_by": "ganpatch evaluate",
            "measured_on_seeds": format_spans(choices.seeds),
            "reference": self.reference,
            "features": choices.features.name,
            "distance": choices.features.distance_name,
            "verdict": self.verdict,
            "fine_images": dict(self.fine),
        }
        for name in ("all", "most"):
            found[f"{name}_images"] = {
                "count": round(len(choices.seeds) * (MOST if name == "most" else 1)),
                "before": self.before[name].rounded(),
                "after": self.after[name].rounded(),
                "random_units": [one.rounded() for one in self.random[name]],
            }
        return found


def evaluate(
    generator: Generator, patch: Patch, choices: Choices | None = None, *, progress: Progress = unseen
) -> Evaluation:
    """Measure `generator` without and with `patch`, and with random units in its place.

    Raises GanpatchError when the seeds are those that the patch was chosen on, or too few.
    """
    choices = choices or Choices(features=load_features())
    _refuse_chosen_on(patch, choices.seeds)
    with applied(generator.module, patch, allow_other_weights=choices.allow_other_weights):
        pass
    total = (2 + choices.draws) * len(choices.seeds)
    reference, what = _reference(generator, choices)
    activity, levels = _activity(generator, patch, choices.seeds)
    before, after, harm, pictures = _before_and_after(generator, patch, choices, lambda done: progress(done, total))
    drawn: list[Tensor] = []
    for number in range(choices.draws):
        edits = random_edits(patch.edits, levels, number)
        start = (2 + number) * len(choices.seeds)
        drawn.append(_vectors(generator, edits, choices, lambda done, start=start: progress(start + done, total)))
    rows = {
        "all": torch.arange(len(choices.seeds)),
        "most": activity.topk(max(1, round(MOST * len(activity)))).indices,
    }
    return Evaluation(
        patch=patch,
        choices=choices,
        reference=what,
        before={name: distances(before[row], reference) for name, row in rows.items()},
        after={name: distances(after[row], reference) for name, row in rows.items()},
        random={name: [distances(vectors[row], reference) for vectors in drawn] for name, row in rows.items()},
        fine=harm.of(activity.topk(max(1, round(LEAST * len(activity))), largest=False).indices),
        damage=harm,
        activity=activity,
        pictures=pictures,
    )


def random_edits(edits: Sequence[Edit], levels: Mapping[str, tuple[Tensor, Tensor]], draw_number: int) -> list[Edit]:
    """Return the same edits of random units that the patch leaves alone.

    `value` and `above` keep their distance from the unit's mean in its deviations, where they are not 0.
    """
    source = torch.Generator().manual_seed(draw_number)
    taken = {(edit.layer, unit) for edit in edits for unit in edit.units}
    made = []
    for edit in edits:
        free = [unit for unit in range(edit.channels) if (edit.layer, unit) not in taken]
        count = min(len(edit.units), len(free))
        units = sorted(free[place] for place in torch.randperm(len(free), generator=source)[:count].tolist())
        taken |= {(edit.layer, unit) for unit in units}
        if not units:
            continue
        mean, deviation = levels[edit.layer]
        fields = {
            name: _carried(getattr(edit, name), edit.units, units, mean, deviation) for name in ("value", "above")
        }
        alpha = edit.alpha if len(edit.alpha) == 1 else edit.alpha[:count]
        mask = edit.mask if edit.mask is None or edit.mask.values.ndim == 2 else None
        made.append(edit.model_copy(update={"units": tuple(units), "alpha": alpha, "mask": mask, **fields}))
    return made


def _carried(
    numbers: tuple[float, ...] | None, units: Sequence[int], others: Sequence[int], mean: Tensor, deviation: Tensor
) -> tuple[float, ...] | None:
    if numbers is None or not any(numbers):
        return numbers if numbers is None else (0.0,)
    each = numbers * len(units) if len(numbers) == 1 else numbers
    span = zip(each, units, others, strict=False)
    scaled = (((level - mean[u]) / deviation[u].clamp(min=1e-6) * deviation[o] + mean[o]) for level, u, o in span)
    return tuple(float(level) for level in scaled)


def _refuse_chosen_on(patch: Patch, seeds: Sequence[int]) -> None:
    for name in ("flagged", "suggested", "tuned"):
        about = patch.evidence.get(name)
        chosen = about.get("seeds") if isinstance(about, dict) else None
        if isinstance(chosen, str) and (both := set(seeds).intersection(parse_spans(chosen, what="seed"))):
            raise GanpatchError(
                f"seed {min(both)} is one that the patch was chosen on ({chosen}): figures of those flatter it; "
                "give other --seeds"
            )


@torch.inference_mode()
def _reference(generator: Generator, choices: Choices) -> tuple[Tensor, str]:
    """Return the vectors of the images to compare with, and say in words what they are."""
    features, count = choices.features, choices.references
    if choices.real is not None:
        height, width = generator.sample([0]).shape[-2:]
        batches = read_images(choices.real, (height, width), BATCH, count)
        real = torch.cat([features.vectors(images) for images in batches])
        return real, f"{len(real)} real images of {choices.real.name}"
    if generator.name == "churches":
        scenes = []
        for seeds in batched(range(SCENES, SCENES + count)):
            drawn = np.stack([draw(seed).image for seed in seeds])
            scenes.append(features.vectors(torch.from_numpy(drawn).permute(0, 3, 1, 2).float() / 255))
        return torch.cat(scenes), f"{count} held-out scenes, which are its real images (from seed {SCENES})"
    maps, vectors = [], []
    for seeds in batched(range(OWN, OWN + 2 * count)):
        images = generator.sample(seeds)
        maps.append(features.maps(images))
        vectors.append(features.vectors(images))
    own = torch.cat(maps)
    odd = torch.cat([Usual(own[count:]).oddity(own[:count]), Usual(own[:count]).oddity(own[count:])])
    typical = odd.mean((1, 2)).argsort()[:count].cpu()
    return torch.cat(vectors)[typical], f"the {count} more usual of {2 * count} images of its own: no real ones"


@torch.inference_mode()
def _activity(
    generator: Generator, patch: Patch, seeds: Sequence[int]
) -> tuple[Tensor, dict[str, tuple[Tensor, Tensor]]]:
    """Return how much each image activates the patched units [N]; and per layer the mean and deviation of all units."""
    peaks: dict[str, list[Tensor]] = {edit.layer: [] for edit in patch.edits}
    sums: dict[str, list[Tensor]] = {edit.layer: [] for edit in patch.edits}
    batch: dict[str, Tensor] = {}

    def watcher(layer: str) -> Any:
        def on_activation(activation: Tensor, _seeds: Sequence[int]) -> None:
            flat = activation.float().flatten(2) if activation.ndim > 2 else activation.float()[..., None]
            batch[layer] = flat.amax(2).cpu()
            sums[layer].append(torch.stack([flat.mean((0, 2)), flat.square().mean((0, 2))]).cpu())

        return on_activation

    for _ in stream(generator, {layer: watcher(layer) for layer in peaks}, seeds, with_images=False):
        for layer in peaks:
            peaks[layer].append(batch[layer])
    total, levels = torch.zeros(len(seeds)), {}
    for layer, found in peaks.items():
        mean, square = torch.stack(sums[layer]).mean(0)
        levels[layer] = (mean, (square - mean.square()).clamp(min=0).sqrt())
        units = sorted({unit for edit in patch.edits if edit.layer == layer for unit in edit.units})
        own = torch.cat(found)[:, units]
        total += ((own - own.mean(0)) / own.std(0).clamp(min=1e-6)).sum(1)
    return total, levels


@torch.inference_mode()
def _before_and_after(
    generator: Generator, patch: Patch, choices: Choices, progress: Any
) -> tuple[Tensor, Tensor, Damage, tuple[Pixels, Pixels]]:
    vectors: tuple[list[Tensor], list[Tensor]] = ([], [])
    small: tuple[list[Pixels], list[Pixels]] = ([], [])
    harm: list[Damage] = []
    perceptual = perceptual_distance(fetch=choices.lpips)
    done = 0
    for seeds in batched(choices.seeds, BATCH):
        pair = []
        for place, edits in enumerate(((), patch.edits)):
            with edits_applied(generator.module, edits) if edits else nullcontext():
                pair.append(generator.sample(seeds))
            vectors[place].append(choices.features.vectors(pair[-1]))
            small[place].append(thumbnails(pair[-1]))
        harm.append(damage(pair[0], pair[1], perceptual))
        done += 2 * len(seeds)
        progress(done)
    before, after = (torch.cat(found) for found in vectors)
    return before, after, Damage.joined(harm), (np.concatenate(small[0]), np.concatenate(small[1]))


@torch.inference_mode()
def _vectors(generator: Generator, edits: Sequence[Edit], choices: Choices, progress: Any) -> Tensor:
    found: list[Tensor] = []
    with edits_applied(generator.module, edits):
        for seeds in batched(choices.seeds, BATCH):
            found.append(choices.features.vectors(generator.sample(seeds)))
            progress(sum(len(part) for part in found))
    return torch.cat(found)
