"""Thumbnails of the images that win a place among some unit's best, and of no others.

    winners = Winners()
    winners.keep(seeds, images, still, most)        # images [M, 3, H, W] that have just won a place
    winners.result(generator, final, most, group)   # {seed: pixels} on the first process

There are never more than twice as many as can win, and they are smaller where many can: memory, and the run folder, do
not grow with the number of images. Those that an interruption lost are drawn again.
"""

from collections.abc import Callable, Collection, Sequence

import numpy as np
import torch
from torch import Tensor

from ganpatch.forward.activations import batched
from ganpatch.forward.processes import Group
from ganpatch.generator.generator import Generator
from ganpatch.pages.image_grids import LARGEST_THUMBNAIL, Pixels, thumbnails

_MOST_BYTES = 400_000_000  # of all thumbnails together
_SMALLEST = 32  # pixels along an edge: below it nobody sees a fault


class Winners:
    """The thumbnails of the images that were among some unit's best when they came."""

    def __init__(self) -> None:
        self._pixels: dict[int, Pixels] = {}

    def keep(self, seeds: Sequence[int], images: Tensor, still: Callable[[], set[int]], most: int) -> None:
        """Keep images [M, 3, H, W] of `seeds`; at most `most` can win at last, and `still` gives those that now do."""
        drawn = thumbnails(images, largest_thumbnail(most))
        self._pixels.update({seed: own.copy() for seed, own in zip(seeds, drawn, strict=True)})  # not the whole batch
        if len(self._pixels) > 2 * most:
            self._pixels = {seed: self._pixels[seed] for seed in still() & self._pixels.keys()}

    def result(self, generator: Generator, final: Collection[int], most: int, group: Group) -> dict[int, Pixels]:
        """Return the thumbnails of the `final` winners, at most `most`, on the first process; nothing on the others."""
        own = {seed: self._pixels[seed] for seed in final if seed in self._pixels}
        kept = {seed for part in group.gathered({"seeds": _numbers(own)}) for seed in part["seeds"].tolist()}
        for seeds in group.share(list(batched(sorted(set(final) - kept)))):
            own.update(zip(seeds, thumbnails(generator.sample(seeds), largest_thumbnail(most)), strict=True))
        found: dict[int, Pixels] = {}
        pixels = {"pixels": torch.from_numpy(np.stack(list(own.values())))} if own else {}
        for part in group.gathered({"seeds": _numbers(own), **pixels}, first_only=True):
            if "pixels" in part:
                found.update(zip(part["seeds"].tolist(), part["pixels"].numpy(), strict=True))
        return found


def largest_thumbnail(most: int) -> int:
    """Return the longest edge of a thumbnail where there may be so many."""
    return max(_SMALLEST, min(LARGEST_THUMBNAIL, int((_MOST_BYTES / (3 * most)) ** 0.5)))


def _numbers(seeds: Collection[int]) -> Tensor:
    return torch.tensor(list(seeds), dtype=torch.int64)
