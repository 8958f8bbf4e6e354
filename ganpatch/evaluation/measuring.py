"""What `evaluate` measures of the images: features, errors, how active the units are; before, after, and per baseline.

Example:

    observed = observe_both(generator, patch.edits, reference, plan)    # two passes over all seeds
    rows = most_active(observed.layers.peaks, patch.edits)              # where these edits act
    score = score_of_rows(generator, baseline, rows, reference, plan)   # one pass over those rows
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ganpatch.evaluation.baselines import Levels
from ganpatch.evaluation.metrics import Damage, Perceptual, damage
from ganpatch.evaluation.references import Reference
from ganpatch.finding.frechet_distance import frechet
from ganpatch.finding.image_features import Features
from ganpatch.forward.activations import BATCH, Progress, batched, stream, unseen
from ganpatch.generator.generator import Generator
from ganpatch.pages.image_grids import Pixels, thumbnails
from ganpatch.patch.applying import edits_applied
from ganpatch.patch.edit import Edit

MOST, LEAST = 0.2, 0.5  # shares of the images that activate the edited units most, least
SCORED = 100  # most active images that are scored, at most: each baseline has to draw as many


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The `seeds` to draw, the features to compare by, and what is called with the number of images done."""

    seeds: Sequence[int]
    features: Features
    perceptual: Perceptual | None = None
    report: Callable[[int], None] = lambda done: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Images as numbers: feature `vectors` [N, D], and how far they are from their targets, if these are known."""

    vectors: Tensor
    likeness: Damage | None

    @property
    def errors(self) -> Tensor | None:
        """The mean absolute errors [N] to the targets."""
        return None if self.likeness is None else self.likeness.changed

    def score(self, reference: Reference, rows: Tensor) -> float:
        """Return the mean error of the images in `rows`, or their Fréchet distance to the reference images."""
        return float(self.errors[rows].mean()) if self.errors is not None else _distance(self.vectors[rows], reference)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """What is known of the edited layers: the peaks [N, C] of every unit in each image, and their levels."""

    peaks: Mapping[str, Tensor]
    levels: Mapping[str, Levels]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """All images before and after an edit, the damage between them, and what the edited layers did before."""

    before: Sample
    after: Sample
    damage: Damage
    layers: Layers
    pictures: tuple[Pixels, Pixels]


@torch.inference_mode()
def watch_layers(generator: Generator, layers: set[str], seeds: Sequence[int], progress: Progress = unseen) -> Layers:
    """Run `seeds` up to the last of `layers`, and return the peaks and levels of all their units."""
    activity, done = _Activity(layers), 0
    for part, _ in stream(generator, activity.watchers, seeds, batch_size=BATCH, with_images=False):
        activity.keep()
        done += len(part)
        progress(done, len(seeds))
    return activity.layers()


@torch.inference_mode()
def observe_both(generator: Generator, edits: Sequence[Edit], reference: Reference, plan: Plan) -> Observed:
    """Draw the images of all seeds before and after `edits`, and watch the layers that they edit."""
    before, after, activity = _Collected(), _Collected(), _Activity({edit.layer for edit in edits})
    small: tuple[list[Pixels], list[Pixels]] = ([], [])
    harm: list[Damage] = []
    for seeds in batched(plan.seeds, BATCH):
        ((_, images),) = stream(generator, activity.watchers, seeds, batch_size=BATCH)
        assert images is not None
        activity.keep()
        with edits_applied(generator.module, edits):
            edited = generator.sample(seeds)
        for place, (kept, drawn) in enumerate(((before, images), (after, edited))):
            kept.add(drawn, seeds, reference, plan)
            small[place].append(thumbnails(drawn))
        harm.append(damage(images, edited, plan.perceptual))
        plan.report(2 * len(seeds))
    return Observed(
        before=before.sample(),
        after=after.sample(),
        damage=Damage.joined(harm),
        layers=activity.layers(),
        pictures=(np.concatenate(small[0]), np.concatenate(small[1])),
    )


@torch.inference_mode()
def score_of_rows(generator: Generator, edits: Sequence[Edit], rows: Tensor, reference: Reference, plan: Plan) -> float:
    """Draw the images of the seeds in `rows` under `edits`, and return their score."""
    found = []
    with edits_applied(generator.module, edits):
        for seeds in batched([plan.seeds[row] for row in rows.tolist()], BATCH):
            images = generator.sample(seeds)
            errors = _errors(images, seeds, reference)
            found.append(plan.features.vectors(images) if errors is None else errors)
            plan.report(len(seeds))
    joined = torch.cat(found)
    return _distance(joined, reference) if reference.targets is None else float(joined.mean())


def _errors(images: Tensor, seeds: Sequence[int], reference: Reference) -> Tensor | None:
    """Return the mean absolute errors [N] of images to those of `seeds`, if these are known."""
    if reference.targets is None:
        return None
    return (images - reference.targets(seeds).to(images.device)).abs().mean((1, 2, 3)).cpu()


def _distance(vectors: Tensor, reference: Reference) -> float:
    return float(frechet(vectors.double(), reference.vectors.double()).clamp(min=0))


def activity_of(peaks: Mapping[str, Tensor], edits: Sequence[Edit]) -> Tensor:
    """Return how much each image activates the edited units [N]: the sum of their peaks as standard scores."""
    total = torch.zeros(len(next(iter(peaks.values()))))
    for layer, of_layer in peaks.items():
        units = sorted({unit for edit in edits if edit.layer == layer for unit in edit.units})
        own = of_layer[:, units]
        total += ((own - own.mean(0)) / own.std(0).clamp(min=1e-6)).sum(1)
    return total


def most_active(peaks: Mapping[str, Tensor], edits: Sequence[Edit]) -> Tensor:
    """Return the rows of the images that most activate the edited units."""
    activity = activity_of(peaks, edits)
    return activity.topk(most_count(len(activity))).indices


def most_count(images: int) -> int:
    """Return how many of `images` count as those that most activate the edited units: a fifth, at most SCORED."""
    return max(1, min(round(MOST * images), SCORED))


def least_active(peaks: Mapping[str, Tensor], edits: Sequence[Edit]) -> Tensor:
    """Return the rows of the half of the images that activates the edited units least: those were fine."""
    activity = activity_of(peaks, edits)
    return activity.topk(max(1, round(LEAST * len(activity))), largest=False).indices


@dataclass(slots=True)
class _Collected:
    vectors: list[Tensor] = field(default_factory=list)
    likeness: list[Damage] = field(default_factory=list)

    def add(self, images: Tensor, seeds: Sequence[int], reference: Reference, plan: Plan) -> None:
        self.vectors.append(plan.features.vectors(images))
        if reference.targets is not None:
            self.likeness.append(damage(images.cpu(), reference.targets(seeds).cpu(), plan.perceptual))

    def sample(self) -> Sample:
        return Sample(vectors=torch.cat(self.vectors), likeness=Damage.joined(self.likeness) if self.likeness else None)


class _Activity:
    """Peaks of every unit per image, and mean and deviation of every unit, of the watched layers."""

    def __init__(self, layers: set[str]) -> None:
        self.watchers = {layer: self._watcher(layer) for layer in sorted(layers)}
        self._batch: dict[str, Tensor] = {}
        self._peaks: dict[str, list[Tensor]] = {layer: [] for layer in self.watchers}
        self._sums: dict[str, list[Tensor]] = {layer: [] for layer in self.watchers}

    def _watcher(self, layer: str) -> Callable[[Tensor, Sequence[int]], None]:
        def on_activation(activation: Tensor, _seeds: Sequence[int]) -> None:
            flat = activation.float().flatten(2) if activation.ndim > 2 else activation.float()[..., None]
            peaks = flat.amax(2).cpu()  # a layer that runs several times counts by its highest activation
            self._batch[layer] = torch.maximum(self._batch[layer], peaks) if layer in self._batch else peaks
            self._sums[layer].append(torch.stack([flat.mean((0, 2)), flat.square().mean((0, 2))]).cpu())

        return on_activation

    def keep(self) -> None:
        for layer, peaks in self._batch.items():
            self._peaks[layer].append(peaks)
        self._batch.clear()

    def layers(self) -> Layers:
        peaks = {layer: torch.cat(parts) for layer, parts in self._peaks.items()}
        return Layers(peaks=peaks, levels=self._levels())

    def _levels(self) -> dict[str, Levels]:
        made = {}
        for layer, parts in self._sums.items():
            mean, square = torch.stack(parts).mean(0)
            made[layer] = Levels(mean=mean, deviation=(square - mean.square()).clamp(min=0).sqrt())
        return made
