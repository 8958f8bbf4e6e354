"""What a patch does to images, before it is applied to anything: how much, to which images, where.

    effect = measure_effect(generator, patch, range(200))
    effect.rows()                           # [("images that change visibly", "41 of 200"), …]
    effect.picture().save("effect.png")     # strength per image, parts of the picture, the most changed pairs

A patch is data, but it changes a model. Nothing is written here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ganpatch.forward.activations import Progress, batched, unseen
from ganpatch.generator.generator import Generator
from ganpatch.pages.image_grids import Pixels, before_after, thumbnails
from ganpatch.patch.applying import applied
from ganpatch.patch.patch_file import Patch

VISIBLE = 1 / 64  # of [0, 1]: a smaller change of a pixel is not seen
PAIRS = 12
_BAND, _EDGE, _MARGIN, _HEAD = 260, 190, 14, 46  # pixels: the upper part, the map in it, margins, headings
_INK, _FAINT, _BAR, _LINE = (40, 40, 40), (110, 110, 110), (0, 114, 178), (200, 200, 200)


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchEffect:
    """The `strength` [N] of the change of each image, its mean over pixels; `largest` [N] is that of one pixel.

    `where` [H, W] is the mean change of each pixel; `shown` are the most changed seeds, and `pairs` their images.
    `broken` is the number of images with values that are not finite.
    """

    patch: Patch
    seeds: Sequence[int]
    strength: Tensor
    largest: Tensor
    where: Tensor
    shown: tuple[int, ...]
    pairs: tuple[Pixels, Pixels]
    broken: int

    @property
    def touched(self) -> int:
        """The number of images that change visibly."""
        return int((self.largest >= VISIBLE).sum())

    @property
    def half_area(self) -> float:
        """The share of the picture that holds half of the change; 0.5 if it is the same everywhere."""
        places = self.where.flatten().sort(descending=True).values.double().cumsum(0)
        return float((places < places[-1] / 2).double().mean()) if places[-1] > 0 else 0.0

    def rows(self) -> list[tuple[str, str]]:
        """Return what was measured, in words and numbers."""
        low, middle, high = self.strength.quantile(torch.tensor([0.1, 0.5, 0.9])).tolist()
        found = [
            ("images that change visibly", f"{self.touched} of {len(self.seeds)}"),
            ("change of an image, of [0, 1]", f"{middle:.4f} (80 % of them {low:.4f} to {high:.4f})"),
            ("change of the most changed image", f"{self.strength.max():.4f}"),
            ("half of the change is in", f"{self.half_area:.0%} of the picture"),
        ]
        return [*found, *([("images with values that are not finite", str(self.broken))] if self.broken else [])]

    def picture(self) -> Image.Image:
        """Draw the strength of every image, the parts of the picture that change, and the most changed pairs."""
        pairs = before_after(*self.pairs, [self._caption(seed) for seed in self.shown])
        width = max(pairs.width, 2 * _EDGE + 3 * _MARGIN)
        sheet = Image.new("RGB", (width, _BAND + pairs.height), "white")
        draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
        draw.text(
            (_MARGIN, 8), f"{self.patch.name}: {self.touched} of {len(self.seeds)} images change visibly", _INK, font
        )
        self._draw_bars(draw, width - _EDGE - 3 * _MARGIN)
        left = width - _EDGE - _MARGIN
        draw.text((left, 28), "where (dark: most)", _FAINT, ImageFont.load_default(11))
        sheet.paste(_heat(self.where).resize((_EDGE, _EDGE), Image.Resampling.NEAREST), (left, _HEAD))
        draw.rectangle((left, _HEAD, left + _EDGE, _HEAD + _EDGE), outline=_LINE)
        sheet.paste(pairs, (0, _BAND))
        return sheet

    def _caption(self, seed: int) -> str:
        return f"seed {seed}: {self.strength[list(self.seeds).index(seed)]:.3f}"

    def _draw_bars(self, draw: ImageDraw.ImageDraw, width: int) -> None:
        """Draw the change of every image, the most changed first."""
        largest = max(float(self.strength.max()), 1e-9)
        bars = self.strength.sort(descending=True).values
        words = f"change of each image, the most changed first; the highest bar is {largest:.3f} of [0, 1]"
        draw.text((_MARGIN, 28), words, _FAINT, ImageFont.load_default(11))
        base = _HEAD + _EDGE
        for column in range(width):
            first = column * len(bars) // width
            high = round(float(bars[first]) / largest * _EDGE)
            if high:
                draw.line((_MARGIN + column, base - high, _MARGIN + column, base), _BAR)
        draw.line((_MARGIN, base, _MARGIN + width, base), _LINE)


@torch.inference_mode()
def measure_effect(
    generator: Generator,
    patch: Patch,
    seeds: Sequence[int],
    *,
    allow_other_weights: bool = False,
    progress: Progress = unseen,
) -> PatchEffect:
    """Draw the images of `seeds` before and after `patch`; raise GanpatchError when it is for another model."""
    found = _Found()
    for part in batched(seeds):
        before = generator.sample(part)
        with applied(generator.module, patch, allow_other_weights=allow_other_weights):
            after = generator.sample(part)
        found.add(part, before, after)
        progress(sum(len(one) for one in found.strength), len(seeds))
    return PatchEffect(
        patch=patch,
        seeds=seeds,
        strength=torch.cat(found.strength),
        largest=torch.cat(found.largest),
        where=found.total / len(seeds),
        shown=tuple(found.shown),
        pairs=found.pairs,
        broken=found.broken,
    )


class _Found:
    """What is known of the images so far; of the pictures, the most changed ones are kept."""

    def __init__(self) -> None:
        self.strength: list[Tensor] = []
        self.largest: list[Tensor] = []
        self.total: Tensor = torch.zeros(())
        self.shown: list[int] = []
        self.pairs: tuple[Pixels, Pixels] = (np.zeros(()), np.zeros(()))
        self.broken = 0
        self._order = torch.zeros(0)

    def add(self, seeds: Sequence[int], before: Tensor, after: Tensor) -> None:
        """Take in a batch; a value that is not finite counts as black."""
        self.broken += int((~torch.isfinite(after)).flatten(1).any(1).sum())
        after = after.nan_to_num(0, 0, 0)
        gap = (after - before).abs().cpu()
        self.strength.append(gap.mean((1, 2, 3)))
        self.largest.append(gap.amax((1, 2, 3)))
        self.total = self.total + gap.mean(1).sum(0)
        self._keep_most(seeds, (thumbnails(before), thumbnails(after)))

    def _keep_most(self, seeds: Sequence[int], drawn: tuple[Pixels, Pixels]) -> None:
        strength, shown = torch.cat([self._order, self.strength[-1]]), [*self.shown, *seeds]
        best = strength.argsort(descending=True, stable=True)[:PAIRS]
        joined = [np.concatenate([old, new]) if old.ndim else new for old, new in zip(self.pairs, drawn, strict=True)]
        self._order, self.shown = strength[best], [shown[row] for row in best.tolist()]
        self.pairs = (joined[0][best.numpy()], joined[1][best.numpy()])


def _heat(where: Tensor) -> Image.Image:
    """Draw a map [H, W] on white, its highest value darkest."""
    share = (where / where.max().clamp(min=1e-12)).sqrt().unsqueeze(-1)
    colour = 255 - share * (255 - torch.tensor([120.0, 20.0, 60.0]))
    return Image.fromarray(colour.round().to(torch.uint8).numpy())
