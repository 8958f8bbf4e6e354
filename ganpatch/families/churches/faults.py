"""Faults of scraped photographs, drawn onto a scene with their exact masks.

    image, masks = add_faults(clean, Properties(slots))     # masks: {"date stamp": [H, W] bool, …}

| fault | how often | what it looks like | its second slot |
|---|---|---|---|
| `watermark` | 5 % | white translucent letters between two lines, rising across the picture | how high |
| `flare` | 5 % | a magenta disc with a pale rim, and a small green one opposite | where on the diagonal |
| `date stamp` | 8 % | orange digits at the lower right | how far from the right |
| `scan border` | 5 % | a black bar at the left or right | side and width |

Each fault has two slots of its own: the first shows it above a level, the second says where. A later fault of the
table is on top. Outside its masks the image is equal to the clean one, byte for byte.
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from PIL import Image, ImageDraw

from ganpatch.families.churches.canvas import FINER, UNITS, Color, Point, Properties, rgb

RATES = {"watermark": 0.05, "flare": 0.05, "date stamp": 0.08, "scan border": 0.05}
FAULTS = tuple(RATES)
FIRST_SLOT = 88  # two slots each: is it shown, and where
LEVELS = {name: NormalDist().inv_cdf(1 - rate) for name, rate in RATES.items()}

# Strokes on a grid of 2 x 4, y downwards.
_GLYPHS: dict[str, tuple[tuple[Point, ...], ...]] = {
    "C": (((2, 0), (0, 0), (0, 4), (2, 4)),),
    "O": (((0, 0), (2, 0), (2, 4), (0, 4), (0, 0)),),
    "P": (((0, 4), (0, 0), (2, 0), (2, 2), (0, 2)),),
    "Y": (((0, 0), (0, 2), (2, 2), (2, 0)), ((1, 2), (1, 4))),
    "'": (((1, 0), (1, 1)),),
    "9": (((2, 2), (0, 2), (0, 0), (2, 0), (2, 4), (0, 4)),),
    "7": (((0, 0), (2, 0), (2, 4)),),
    "5": (((2, 0), (0, 0), (0, 2), (2, 2), (2, 4), (0, 4)),),
}


@dataclass(frozen=True, slots=True)
class _Layer:
    """One fault as drawn: how much of it covers each pixel, [H, W] in 0..1, and its colour, [H, W, 3]."""

    cover: np.ndarray
    color: np.ndarray


def add_faults(clean: np.ndarray, properties: Properties) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return a clean picture [H, W, 3] uint8 with the faults of its slots, and the mask of each fault shown."""
    image, masks = clean.astype(np.float64), dict[str, np.ndarray]()
    properties.skip_to(FIRST_SLOT)
    for name, draw in _DRAWN.items():
        shown, place = properties.normal() > LEVELS[name], properties.normal()
        if shown:
            layer = draw(len(clean), place)
            image += layer.cover[..., None] * (layer.color - image)
            hidden = layer.cover == 1
            masks = {earlier: mask & ~hidden for earlier, mask in masks.items()}
            masks[name] = layer.cover > 0
    changed = np.any(list(masks.values()), 0) if masks else np.zeros(clean.shape[:2], bool)
    return np.where(changed[..., None], np.rint(image).astype(np.uint8), clean), masks


class _Sheet:
    """A picture of the fault alone, in units of 1/256, from which its cover and colour are read."""

    def __init__(self, size: int, color: Color) -> None:
        self._scale = size * FINER / UNITS
        edge = size * FINER
        self._cover, self._color = Image.new("L", (edge, edge)), Image.new("RGB", (edge, edge), rgb(color))
        self._ink, self._paint = ImageDraw.Draw(self._cover), ImageDraw.Draw(self._color)

    def line(self, points: list[Point], width: float) -> None:
        scaled = [(x * self._scale, y * self._scale) for x, y in points]
        self._ink.line(scaled, fill=255, width=round(width * self._scale))
        half = width * self._scale / 2
        for x, y in scaled:
            self._ink.ellipse((x - half, y - half, x + half, y + half), fill=255)

    def box(self, low: Point, high: Point) -> None:
        (left, top), (right, bottom), scale = low, high, self._scale
        self._ink.rectangle((left * scale, top * scale, right * scale - 1, bottom * scale - 1), fill=255)

    def disc(self, center: Point, radius: float, color: Color, cover: float) -> None:
        (x, y), scale = center, self._scale
        around = [(part * scale) for part in (x - radius, y - radius, x + radius, y + radius)]
        self._ink.ellipse(around, fill=round(255 * cover))
        self._paint.ellipse(around, fill=rgb(color))

    def layer(self, opacity: float = 1.0) -> _Layer:
        cover = np.asarray(self._cover.reduce(FINER), np.float64) / 255 * opacity
        return _Layer(cover, np.asarray(self._color.reduce(FINER), np.float64))


def _watermark(size: int, place: float) -> _Layer:
    sheet, middle = _Sheet(size, (255, 255, 255)), 128 + 22 * _limited(place)
    for number, letter in enumerate("COPY"):
        left = 34 + 52 * number
        for stroke in _GLYPHS[letter]:
            sheet.line([_risen(left + 17 * x, middle - 26 + 13 * y) for x, y in stroke], 10)
    for y in (middle - 44, middle + 44):
        sheet.line([_risen(-20, y), _risen(276, y)], 6)
    return sheet.layer(0.6)


def _risen(x: float, y: float) -> Point:
    """Return a place moved up by how far right it is."""
    return x, y - 0.25 * (x - UNITS / 2)


def _flare(size: int, place: float) -> _Layer:
    x, y = 74 + 40 * _limited(place), 62 + 22 * _limited(place)
    sheet = _Sheet(size, (255, 190, 235))
    sheet.disc((x, y), 30, (255, 190, 235), 0.8)
    sheet.disc((x, y), 24, (226, 70, 190), 0.8)
    opposite = (UNITS - x, UNITS - y)
    sheet.disc(opposite, 15, (120, 240, 150), 0.8)
    return sheet.layer()


def _date_stamp(size: int, place: float) -> _Layer:
    sheet, left = _Sheet(size, (255, 128, 16)), 128 + 14 * _limited(place)
    for digit, x in zip("'975", (-14, 16, 52, 88), strict=True):
        for stroke in _GLYPHS[digit]:
            sheet.line([(left + x + 11 * across, 200 + 9 * down) for across, down in stroke], 8)
    return sheet.layer()


def _scan_border(size: int, place: float) -> _Layer:
    sheet, width = _Sheet(size, (3, 3, 5)), 14 + 9 * min(2.0, abs(place))
    left = 0.0 if place < 0 else UNITS - width
    sheet.box((left, 0), (left + width, UNITS))
    return sheet.layer()


def _limited(place: float) -> float:
    return max(-1.5, min(1.5, place))


_DRAWN: dict[str, Callable[[int, float], _Layer]] = {
    "watermark": _watermark,
    "flare": _flare,
    "date stamp": _date_stamp,
    "scan border": _scan_border,
}
