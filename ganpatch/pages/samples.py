"""Images of a generator as pictures: a grid, or pairs before and after a patch.

Example:

    sample = Sample(generator, range(64), patch=patch)
    sample.grid().save("grid.png")
    sample.pairs(first=24).save("pairs.png")        # the most changed first
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ganpatch.forward.activations import Progress, batched, unseen
from ganpatch.generator.generator import Generator
from ganpatch.pages.image_grids import LARGEST_THUMBNAIL, Pixels, grid, input_pictures, side_by_side, thumbnails
from ganpatch.patch.applying import applied
from ganpatch.patch.patch_file import Patch

_LARGEST = 4 * LARGEST_THUMBNAIL
_LARGEST_PICTURE = 100_000_000  # pixels: larger ones are hard to open


@dataclass(frozen=True, slots=True)
class Sample:
    """Images of `seeds`, with `patch` if there is one."""

    generator: Generator
    seeds: Sequence[int]
    patch: Patch | None = None
    allow_other_weights: bool = False
    progress: Progress = unseen

    def grid(self, columns: int | None = None) -> Image.Image:
        """Draw one grid of images, with the patch."""
        return grid(self._pixels(self.patch, passes=1), columns)

    def pairs(self, columns: int | None = None, first: int | None = None) -> Image.Image:
        """Draw pairs before and after the patch, the most changed first; keep only the `first` pairs.

        Of a network that turns pictures into pictures, the input is drawn before each pair.
        """
        before, after = self._pixels(None, passes=2), self._pixels(self.patch, passes=2)
        change = np.abs(before.astype(np.int16) - after).mean((1, 2, 3))
        order = np.argsort(-change, kind="stable")[:first]
        seeds = [self.seeds[index] for index in order]
        given = input_pictures(self.generator.latent, seeds, before.shape[1:3])
        parts = {"before": before[order], "after": after[order]}
        return side_by_side(
            ({} if given is None else {"input": given}) | parts, seeds, columns or (4 if given is None else 3)
        )

    def pixels(self) -> Pixels:
        """Draw the images [N, H, W, 3] uint8, with the patch."""
        return self._pixels(self.patch, passes=1)

    def _pixels(self, patch: Patch | None, *, passes: int) -> Pixels:
        """Draw the images [N, H, W, 3] uint8, small enough to fit into one picture."""
        total = passes * len(self.seeds)
        before = len(self.seeds) if patch is not None and passes == 2 else 0
        largest = max(32, min(_LARGEST, int((_LARGEST_PICTURE / total) ** 0.5)))
        module = self.generator.module
        hooks = applied(module, patch, allow_other_weights=self.allow_other_weights) if patch else nullcontext()
        drawn: list[Pixels] = []
        with hooks:
            for part in batched(self.seeds):
                drawn.append(thumbnails(self.generator.sample(part), largest))
                self.progress(before + sum(len(pixels) for pixels in drawn), total)
        return np.concatenate(drawn)
