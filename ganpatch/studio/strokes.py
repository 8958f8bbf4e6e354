"""Strokes of a brush on an image, and the mask that they make at a layer's resolution.

    painted([Stroke(radius=6, points=[(10, 12), (30, 12)])], image=(64, 64), layer=(8, 8))      # [8, 8] in [0, 1]

Coordinates are image pixels: x to the right, y down, the first pixel's centre at (0.5, 0.5). A feature is covered by
the share of its area under the brush.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from ganpatch.edit import Part, Size
from ganpatch.patch import Model

FINEST = 512  # no mask is drawn finer than this before it is averaged to the layer's size

Coordinate = Annotated[float, Field(ge=-65536, le=65536, allow_inf_nan=False)]
Radius = Annotated[float, Field(gt=0, le=65536, allow_inf_nan=False)]
ImageSize = Annotated[tuple[Size, Size], Field(strict=False)]
Concept = Annotated[str, Field(min_length=1, max_length=100)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class Stroke(Part):
    """A polyline under a round brush; `erase` takes away what was painted before."""

    radius: Radius
    points: Annotated[tuple[tuple[Coordinate, Coordinate], ...], Field(strict=False, min_length=1, max_length=2000)]
    erase: bool = False


class LabelStroke(Part):
    """A stroke that says: here is `concept`, in the image of `seed`; `size` is (h, w) of the image."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,40}$")]
    seed: Seed
    size: ImageSize
    concept: Concept
    stroke: Stroke


def painted(strokes: Sequence[Stroke], *, image: tuple[int, int], layer: tuple[int, int]) -> Tensor:
    """Give the share of each feature's area that the strokes cover: [h, w] in [0, 1]."""
    fine = [max(1, min(round(edge / small), FINEST // small)) for edge, small in zip(image, layer, strict=True)]
    height, width = layer[0] * fine[0], layer[1] * fine[1]
    scale = np.array([width / image[1], height / image[0]])
    covered = np.zeros((height, width), bool)
    for stroke in strokes:
        for start, end in _segments(stroke):
            _cover(covered, start * scale, end * scale, stroke.radius * scale, value=not stroke.erase)
    share = covered.reshape(layer[0], fine[0], layer[1], fine[1]).mean((1, 3))
    return torch.from_numpy(share.astype(np.float32))


def strokes_file(model: Model, concepts: Iterable[str], strokes: Sequence[LabelStroke]) -> dict[str, Any]:
    """Give the content of strokes.json, from which `dissect` learns new concepts: strokes by image."""
    images: dict[tuple[int, tuple[int, int]], list[dict[str, Any]]] = {}
    for one in strokes:
        plain = {"concept": one.concept, "radius": one.stroke.radius, "points": [list(p) for p in one.stroke.points]}
        images.setdefault((one.seed, one.size), []).append(plain)
    return {
        "format": "ganpatch-strokes/1",
        "model": model.model_dump(),
        "concepts": list(dict.fromkeys([*concepts, *(one.concept for one in strokes)])),
        "images": [{"seed": seed, "size": list(size), "strokes": made} for (seed, size), made in images.items()],
    }


Mode = Literal["remove", "insert"]


def _segments(stroke: Stroke) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    points = np.array(stroke.points, float)
    return [(points[0], points[0])] if len(points) == 1 else list(itertools.pairwise(points))


def _cover(covered: np.ndarray, start: np.ndarray, end: np.ndarray, radius: np.ndarray, *, value: bool) -> None:
    """Set every pixel whose centre is within `radius` (x, y) of the segment."""
    height, width = covered.shape
    low = np.floor(np.minimum(start, end) - radius).clip(0).astype(int)
    high = np.ceil(np.maximum(start, end) + radius).clip(None, [width, height]).astype(int)
    if (high <= low).any():
        return
    x, y = np.meshgrid(np.arange(low[0], high[0]) + 0.5, np.arange(low[1], high[1]) + 0.5)
    line = (end - start) / radius
    dx, dy = (x - start[0]) / radius[0], (y - start[1]) / radius[1]
    along = ((dx * line[0] + dy * line[1]) / max(float(line @ line), 1e-12)).clip(0, 1)
    near = (dx - along * line[0]) ** 2 + (dy - along * line[1]) ** 2 <= 1
    covered[low[1] : high[1], low[0] : high[0]][near] = value
