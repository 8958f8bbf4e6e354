"""The strokes that a person painted on a few images: which concept is where, as far as it was painted.

The studio writes such files, and `--segmenter strokes:FILE` reads them:

{"format": "ganpatch-strokes/1", "model": {…}, "concepts": ["sky", "tree"],
 "images": [{"seed": 12, "size": [64, 64], "strokes": [{"concept": "tree", "radius": 2, "points": [[20.5, 30.5], …]}]}]}

`size` is (H, W) of the image painted on; points are (x, y) in its pixels, x to the right, y down, pixel centres at .5.
A stroke is a polyline under a round brush; a later one covers an earlier one. What is not painted is not labelled.
"""

import math
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
import torch
from PIL import Image, ImageDraw
from pydantic import Field, ValidationError, model_validator
from torch import Tensor

from ganpatch.disk.atomic_files import read_bytes
from ganpatch.disk.json_files import Section, first_fault, parsed_section, write_section
from ganpatch.errors import GanpatchError, near_miss
from ganpatch.patch.edit import Size, raise_faults
from ganpatch.patch.patch_file import Model

UNLABELLED = 255
_LARGEST = 64_000_000
_MOST_CONCEPTS = 200
_SCALE = 4  # drawn larger, so that a thin stroke keeps its position

LARGEST = 65536  # pixels: edges of images, and how far a brush reaches
Coordinate = Annotated[float, Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]
Radius = Annotated[float, Field(gt=0, le=LARGEST, allow_inf_nan=False)]
ImageSize = Annotated[tuple[Size, Size], Field(strict=False)]
Concept = Annotated[str, Field(min_length=1, max_length=100)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Points = Annotated[tuple[tuple[Coordinate, Coordinate], ...], Field(strict=False, min_length=1, max_length=100_000)]


class Line(Section):
    """A polyline under a round brush: its points (x, y) and the radius of the brush, in pixels."""

    radius: Radius
    points: Points


class Stroke(Line):
    """A line that marks `concept`."""

    concept: Concept


class PaintedImage(Section):
    """The strokes on the image of one seed; `size` is (h, w)."""

    seed: Seed
    size: ImageSize
    strokes: tuple[Stroke, ...]


class Strokes(Section):
    """A strokes file: the model whose images were painted on, the concepts in their order, the images.

    A file may be unfinished, as the studio writes it at once; `load` refuses what nothing can be learned from.
    """

    format: Literal["ganpatch-strokes/1"] = "ganpatch-strokes/1"
    model: Model
    concepts: tuple[Concept, ...]
    images: tuple[PaintedImage, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        used = [(image, number, stroke) for image in self.images for number, stroke in enumerate(image.strokes)]
        raise_faults(
            [
                (
                    ("images", self.images.index(image), "strokes", number),
                    f"concept '{stroke.concept}' is not in concepts{near_miss(stroke.concept, self.concepts)}",
                )
                for image, number, stroke in used
                if stroke.concept not in self.concepts
            ]
        )
        return self

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a strokes file; raise GanpatchError naming its first fault, or what is missing to learn from it."""
        try:
            strokes = parsed_section(read_bytes(path, limit=_LARGEST), cls, f"'{path}'")
        except ValidationError as fault:
            raise GanpatchError(f"'{path}': {first_fault(fault)}") from fault
        if not 2 <= len(strokes.concepts) <= _MOST_CONCEPTS or not strokes.images:
            raise GanpatchError(
                f"'{path}': {len(strokes.concepts)} concepts on {len(strokes.images)} images; paint strokes for "
                f"2 to {_MOST_CONCEPTS} concepts, one may be 'background'"
            )
        return strokes

    def save(self, path: Path) -> None:
        """Write the file as a whole or not at all."""
        write_section(path, self)

    def labels(self, image: PaintedImage, size: tuple[int, int]) -> Tensor:
        """Return the labels of one image [H, W], int64: indices into `concepts`, UNLABELLED elsewhere."""
        height, width = size
        canvas = Image.new("L", (width * _SCALE, height * _SCALE), UNLABELLED)
        pen = ImageDraw.Draw(canvas)
        zoom = (width * _SCALE / image.size[1], height * _SCALE / image.size[0])
        for stroke in image.strokes:
            ink, radius = self.concepts.index(stroke.concept), stroke.radius * min(zoom)
            points = [(x * zoom[0], y * zoom[1]) for x, y in stroke.points]
            if any(_reaches_all(x, y, radius, canvas.size) for x, y in points):
                canvas.paste(ink, (0, 0, *canvas.size))  # a pen of that size is drawn wrong, and slowly
                continue
            pen.line(points, fill=ink, width=max(1, round(2 * radius)))
            for x, y in points:
                pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=ink)
        drawn = torch.from_numpy(np.asarray(canvas).copy()).long()
        return drawn[_SCALE // 2 :: _SCALE, _SCALE // 2 :: _SCALE]


def _reaches_all(x: float, y: float, radius: float, size: tuple[int, int]) -> bool:
    """Return whether a circle covers a picture of `size` (w, h): its farthest corner is inside."""
    return math.hypot(max(x, size[0] - x), max(y, size[1] - y)) <= radius
