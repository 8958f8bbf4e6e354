"""How much of each concept images contain, before and after edits.

Example:

    before, after = concept_change(generator, segmenter, edits, seeds)      # [K] shares of pixels, each
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ganpatch.forward.activations import Progress, stream, unseen
from ganpatch.generator.generator import Generator
from ganpatch.patch.applying import edits_applied
from ganpatch.patch.edit import Edit
from ganpatch.segmenters.kept_activations import KeptActivations
from ganpatch.segmenters.loading import Segmenter


@dataclass(frozen=True, slots=True, kw_only=True)
class ConceptChange:
    """The share of pixels of each concept [K] `before` and `after` an edit, over the same seeds and `pixels`."""

    concepts: tuple[str, ...]
    before: Tensor
    after: Tensor
    pixels: Literal["all", "inside the mask"] = "all"

    def removed(self, concept: str) -> float:
        """Return the share of the concept's pixels that were removed; negative if there are more."""
        place = self.concepts.index(concept)
        return 1 - (self.after[place] / self.before[place].clamp(min=1e-12)).item()

    def heading(self) -> list[str]:
        """Return the heading of `rows`."""
        return ["concept", f"before, {'of all pixels' if self.pixels == 'all' else self.pixels}", "after", "change"]

    def rows(self) -> list[list[str]]:
        """Return a table: concept, share before, share after, relative change; the largest change first."""
        order = (self.after - self.before).abs().argsort(descending=True).tolist()
        return [
            [
                self.concepts[place],
                f"{self.before[place]:.2%}",
                f"{self.after[place]:.2%}",
                f"{(self.after[place] / self.before[place] - 1):+.1%}" if self.before[place] > 0 else "new",
            ]
            for place in order
            if self.before[place] > 0 or self.after[place] > 0
        ]


def concept_change(
    generator: Generator,
    segmenter: Segmenter,
    edits: Sequence[Edit],
    seeds: Sequence[int],
    *,
    within: Tensor | None = None,
    progress: Progress = unseen,
) -> ConceptChange:
    """Measure the concepts in the images of `seeds` before and after `edits`; `within` [H, W] weights pixels."""
    total = 2 * len(seeds)
    before = _shares(generator, segmenter, seeds, within, lambda done: progress(done, total))
    with edits_applied(generator.module, edits):
        after = _shares(generator, segmenter, seeds, within, lambda done: progress(len(seeds) + done, total))
    pixels: Literal["all", "inside the mask"] = "all" if within is None else "inside the mask"
    return ConceptChange(concepts=segmenter.concepts, before=before, after=after, pixels=pixels)


def _shares(
    generator: Generator,
    segmenter: Segmenter,
    seeds: Sequence[int],
    within: Tensor | None,
    done: Callable[[int], None],
) -> Tensor:
    kept, concepts = KeptActivations(segmenter.layers), len(segmenter.concepts)
    found, finished = torch.zeros(concepts, dtype=torch.float64), 0
    for part, images in stream(generator, kept.watch(), seeds):
        assert images is not None
        labels = kept.labels(segmenter, images)
        weights = torch.ones(labels.shape[1:]) if within is None else within
        weights = (weights / weights.sum()).double().to(labels.device)
        flat = weights.flatten().repeat(len(labels))
        found += torch.bincount(labels.flatten(), flat, minlength=concepts).cpu()
        finished += len(part)
        done(finished)
    return found / len(seeds)
