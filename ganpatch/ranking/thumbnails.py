"""Thumbnails of the top images of some unit, and of no other images.

    winners = Winners()
    winners.keep(seeds, images, still, most)        # images [M, 3, H, W] that have just won a place
    winners.result(generator, final, most, group)   # {seed: pixels} on the first process

There are never more than twice as many as can win a place, and they are smaller if many can. So memory and the run
folder do not grow with the number of images. Thumbnails lost in an interruption are drawn again.
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
_SMALLEST = 32  # pixels along an edge: below this, faults cannot be seen


class Winners:
    """The thumbnails of images that were among the best of some unit when they were added."""

    def __init__(self) -> None:
        self._pixels: dict[int, Pixels] = {}

    def keep(self, seeds: Sequence[int], images: Tensor, still: Callable[[], set[int]], most: int) -> None:
        """Keep images [M, 3, H, W] of `seeds`; at most `most` can stay, and `still` returns the current top images."""
        drawn = thumbnails(images, largest_thumbnail(most))
        self._pixels.update({seed: own.copy() for seed, own in zip(seeds, drawn, strict=True)})  # not the whole batch
        if len(self._pixels) > 2 * most:
            self._pixels = {seed: self._pixels[seed] for seed in still() & self._pixels.keys()}

    def result(self, generator: Generator, final: Collection[int], most: int, group: Group) -> dict[int, Pixels]:
        """Return the thumbnails of the `final` top images, at most `most`; {} on all processes but the first."""
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
    """Return the longest edge of a thumbnail if there are up to `most`."""
    return max(_SMALLEST, min(LARGEST_THUMBNAIL, int((_MOST_BYTES / (3 * most)) ** 0.5)))


def _numbers(seeds: Collection[int]) -> Tensor:
    return torch.tensor(list(seeds), dtype=torch.int64)
