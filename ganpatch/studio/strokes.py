"""Strokes of a brush on an image, and the mask that they make at a layer's resolution.

    painted([Stroke(radius=6, points=[(10, 12), (30, 12)])], image=(64, 64), layer=(8, 8))      # [8, 8] in [0, 1]

Coordinates are image pixels: x to the right, y down, the first pixel's centre at (0.5, 0.5). A feature is covered by
the share of its area under the brush.
"""

import itertools
from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import ceil, floor
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from ganpatch.patch.edit import Part
from ganpatch.patch.patch_file import Model
from ganpatch.segmenters.strokes_file import Concept, ImageSize, Line, PaintedImage, Points, Seed, Strokes
from ganpatch.segmenters.strokes_file import Stroke as ConceptStroke

FINEST = 512  # no mask is drawn finer than this before it is averaged to the layer's size
_PIECE = 8  # segments

Mode = Literal["remove", "insert"]
Polyline = tuple[tuple[float, float], ...]


class Stroke(Line):
    """A polyline under a round brush; `erase` removes what was painted before."""

    points: Annotated[Points, Field(max_length=2000)]
    erase: bool = False


class LabelStroke(Part):
    """A stroke that marks `concept` in the image of `seed`; `size` is (h, w) of the image."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,40}$")]
    seed: Seed
    size: ImageSize
    concept: Concept
    stroke: Stroke


def painted(strokes: Sequence[Stroke], *, image: tuple[int, int], layer: tuple[int, int]) -> Tensor:
    """Return the share of each feature's area that the strokes cover, [h, w] in [0, 1]."""
    fine = [max(1, min(round(edge / small), FINEST // small)) for edge, small in zip(image, layer, strict=True)]
    size = (layer[0] * fine[0], layer[1] * fine[1])
    covered = np.zeros(size, bool)
    for stroke in strokes:
        for start in range(0, max(1, len(stroke.points) - 1), _PIECE):
            covered[_under(stroke.points[start : start + _PIECE + 1], stroke.radius, image, size)] = not stroke.erase
    share = covered.reshape(layer[0], fine[0], layer[1], fine[1]).mean((1, 3))
    return torch.from_numpy(share.astype(np.float32))


def by_image(model: Model, concepts: Iterable[str], strokes: Sequence[LabelStroke]) -> Strokes:
    """Return strokes by image, as the file from which `dissect` learns new concepts."""
    images: dict[tuple[int, tuple[int, int]], list[ConceptStroke]] = {}
    for one in strokes:
        stroke = ConceptStroke(concept=one.concept, radius=one.stroke.radius, points=one.stroke.points)
        images.setdefault((one.seed, one.size), []).append(stroke)
    return Strokes(
        model=model,
        concepts=tuple(dict.fromkeys([*concepts, *(one.concept for one in strokes)])),
        images=tuple(PaintedImage(seed=seed, size=size, strokes=tuple(made)) for (seed, size), made in images.items()),
    )


@lru_cache(maxsize=256)
def _under(points: Polyline, radius: float, image: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Return which pixels of a picture of `size` have their centre under a piece of a stroke on an `image`.

    Cached: a stroke that is being painted is drawn once per move, and only its last piece is new.
    """
    covered = np.zeros(size, bool)
    tall, wide = size[0] / image[0], size[1] / image[1]
    rx, ry = radius * wide, radius * tall
    scaled = [(x * wide, y * tall) for x, y in points]
    for (ax, ay), (bx, by) in itertools.pairwise(scaled if len(scaled) > 1 else scaled * 2):
        top, bottom = max(0, floor(min(ay, by) - ry)), min(size[0], ceil(max(ay, by) + ry))
        left, right = max(0, floor(min(ax, bx) - rx)), min(size[1], ceil(max(ax, bx) + rx))
        if top >= bottom or left >= right:
            continue
        x = (np.arange(left, right) + (0.5 - ax)) / rx
        y = (np.arange(top, bottom)[:, None] + (0.5 - ay)) / ry
        dx, dy = (bx - ax) / rx, (by - ay) / ry
        along = ((x * dx + y * dy) / max(dx * dx + dy * dy, 1e-12)).clip(0, 1)
        covered[top:bottom, left:right] |= (x - along * dx) ** 2 + (y - along * dy) ** 2 <= 1
    return covered
