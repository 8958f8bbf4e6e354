"""Where a concept can be inserted: the effect of an insertion by what was there before (Bau et al. 2018, section 4.4).

Example:

    context = insertion_by_context(bench, units, values, "door", seeds)
    context.rows()              # ("building", 118 places, +0.31), ("sky", 128 places, +0.002), …
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ganpatch.causes.interventions import BATCH, Interventions, grown, inserted, unchanged
from ganpatch.forward.activations import batched
from ganpatch.pages.image_grids import Pixels, to_pixels

_LEAST_SHARE = 0.5  # of a position that a concept must cover to count as what was there


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One insertion: the seed of the image, the position (row, column), the gain, and pixels before and after."""

    seed: int
    place: tuple[int, int]
    gain: float
    before: Pixels
    after: Pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The gain in a concept's presence, by what was there before; `examples` have the largest gain of each."""

    concept: str
    gains: dict[str, tuple[float, ...]]
    examples: dict[str, Example]

    def mean(self, before: str) -> float:
        """Return the mean gain at positions where `before` was."""
        return sum(self.gains[before]) / len(self.gains[before])

    def rows(self) -> list[tuple[str, int, float]]:
        """Return what was there, the number of positions and the mean gain; the largest first."""
        rows = [(name, len(gains), self.mean(name)) for name, gains in self.gains.items()]
        return sorted(rows, key=lambda row: -row[2])


@dataclass(frozen=True, slots=True)
class _Try:
    row: int
    place: int
    before: int


def insertion_by_context(
    bench: Interventions, units: Tensor, values: Tensor, concept: str, seeds: Sequence[int], radius: int = 0
) -> Context:
    """Insert `units` at `values` at one position per image and class, and measure how much of `concept` appears there.

    The insertion also covers `radius` places around its own.
    """
    index, names = bench.segmenter.index(concept), bench.segmenter.concepts
    gains: dict[str, list[float]] = {}
    kept: dict[str, Example] = {}
    for part in batched(seeds, BATCH):
        prefix = bench.prefix(part)
        with torch.no_grad():
            presence = bench.presence(bench.probabilities(prefix, unchanged)).cpu()
            originals = bench.images(prefix, unchanged)
        for tries in batched(_tries(presence, part), BATCH):
            places = _masks(tries, bench.size)
            rows = torch.tensor([one.row for one in tries])
            change = inserted(units, values, 1.0, grown(places, radius))
            with torch.no_grad():
                after = bench.presence(bench.probabilities(prefix.rows(rows), change)).cpu()
                images = bench.images(prefix.rows(rows), change)
            found = ((after - presence[rows])[:, index] * places).sum((1, 2)).tolist()
            for one, gain, before, image in zip(tries, found, originals[rows], images, strict=True):
                gains.setdefault(names[one.before], []).append(gain)
                pair = to_pixels(torch.stack([before, image]))
                place = divmod(one.place, bench.size[1])
                example = Example(seed=part[one.row], place=place, gain=gain, before=pair[0], after=pair[1])
                best = kept.get(names[one.before])
                kept[names[one.before]] = example if best is None or gain > best.gain else best
    return Context(concept=concept, gains={name: tuple(found) for name, found in gains.items()}, examples=kept)


def _tries(presence: Tensor, seeds: Sequence[int]) -> list[_Try]:
    """Draw for each image and class one position that the class mostly covers, if there is one."""
    tries = []
    for row, seed in enumerate(seeds):
        source = torch.Generator().manual_seed(seed)
        for before, covered in enumerate(presence[row].flatten(1) > _LEAST_SHARE):
            places = covered.nonzero().flatten()
            if len(places):
                chosen = int(places[torch.randint(len(places), (), generator=source)])
                tries.append(_Try(row, chosen, before))
    return tries


def _masks(tries: Sequence[_Try], size: tuple[int, int]) -> Tensor:
    places = torch.tensor([one.place for one in tries])
    return F.one_hot(places, size[0] * size[1]).view(-1, *size).float()
