"""What scenes are drawn with: a picture and its label map on two canvases, slots as properties, and the light.

Coordinates are in units of 1/256 of the picture, whatever its size. Everything is drawn four times too large;
the picture is then box-filtered and the labels are sampled at pixel centres.
"""

import math
from dataclasses import dataclass, fields

import numpy as np
from PIL import Image, ImageDraw

UNITS = 256
FINER = 4  # the canvases are so many times larger than the picture

Color = tuple[float, float, float]
Point = tuple[float, float]


class Canvas:
    """A picture and its label map, drawn by the same calls; `concepts` are the names of the labels."""

    def __init__(self, size: int, concepts: tuple[str, ...]) -> None:
        self.edge = size * FINER
        self._scale = self.edge / UNITS
        self._labels_of = {name: label for label, name in enumerate(concepts)}
        self._start(np.zeros((self.edge, 3)))

    def rows(self, colors: np.ndarray) -> None:
        """Fill the picture with one colour per row, [edge, 3], labelled 0. This discards what was drawn before."""
        self._start(colors)

    def _start(self, colors: np.ndarray) -> None:
        column = np.clip(np.rint(colors), 0, 255).astype(np.uint8)[:, None]
        filled = np.ascontiguousarray(np.broadcast_to(column, (self.edge, self.edge, 3)))
        self._image = Image.fromarray(filled)
        self._label_map = Image.new("L", (self.edge, self.edge))
        self._ink, self._label = ImageDraw.Draw(self._image), ImageDraw.Draw(self._label_map)

    def polygon(self, points: list[Point], color: Color, concept: str) -> None:
        """Fill the polygon with these corners."""
        corners = [(x * self._scale, y * self._scale) for x, y in points]
        self._ink.polygon(corners, fill=rgb(color))
        self._label.polygon(corners, fill=self._labels_of[concept])

    def box(self, low: Point, high: Point, color: Color, concept: str) -> None:
        """Fill the rectangle between two opposite corners."""
        self.polygon([low, (high[0], low[1]), high, (low[0], high[1])], color, concept)

    def ellipse(self, center: Point, radii: Point, color: Color, concept: str) -> None:
        """Fill the ellipse around `center`."""
        (x, y), (rx, ry), scale = center, radii, self._scale
        around = ((x - rx) * scale, (y - ry) * scale, (x + rx) * scale, (y + ry) * scale)
        self._ink.ellipse(around, fill=rgb(color))
        self._label.ellipse(around, fill=self._labels_of[concept])

    def image(self) -> np.ndarray:
        """Return the picture, [H, W, 3] uint8."""
        return np.asarray(self._image.reduce(FINER))

    def labels(self) -> np.ndarray:
        """Return the label map, [H, W] uint8."""
        return np.asarray(self._label_map)[FINER // 2 :: FINER, FINER // 2 :: FINER].copy()


class Properties:
    """Hands out the slots in order, each turned into the property that is asked for.

    Only the direction of the slots counts: the generator, too, divides z by its root mean square first.
    """

    def __init__(self, slots: np.ndarray) -> None:
        wide = np.asarray(slots, np.float64)
        self._normal: list[float] = (wide / np.sqrt((wide**2).mean() + 1e-8)).tolist()
        self._next = 0

    def share(self) -> float:
        """Return the next slot as a number that is uniform in [0, 1]."""
        value = self.normal()
        return 0.5 * (1 + math.erf(value / math.sqrt(2)))

    def normal(self) -> float:
        """Return the next slot as it is."""
        self._next += 1
        return self._normal[self._next - 1]

    def between(self, low: float, high: float) -> float:
        """Return a number that is uniform between two limits."""
        return low + (high - low) * self.share()

    def grown(self, shown: float, low: float, high: float) -> float:
        """Return 0, or in a fraction `shown` of scenes a number between two limits.

        One slot decides both, so that a thing grows from the smallest size: that is easier to learn than a switch.
        """
        over = self.share() - (1 - shown)
        return low + (high - low) * over / shown if over > 0 else 0.0

    def of_steps(self, *steps: Point) -> float:
        """Return a piecewise linear function of a uniform number, given as (number, value) steps."""
        places, values = zip(*steps, strict=True)
        return float(np.interp(self.share(), places, values))

    def skip_to(self, slot: int) -> None:
        """Continue with the given slot."""
        self._next = slot


@dataclass(frozen=True, slots=True, kw_only=True)
class Light:
    """The light of one time of day: two sky colours, cloud and sun colour, a tint on all else, window glow."""

    zenith: Color
    horizon: Color
    cloud: Color
    sun: Color
    tint: Color
    glow: Color  # red: how much windows shine

    def mixed(self, other: "Light", part: float) -> "Light":
        """Return the light between this one (0) and the other (1)."""
        names = [field.name for field in fields(self)]
        return Light(**{name: mix(getattr(self, name), getattr(other, name), part) for name in names})


_NIGHT = Light(
    zenith=(20, 26, 62),
    horizon=(58, 66, 112),
    cloud=(84, 90, 128),
    sun=(238, 236, 214),
    tint=(0.42, 0.45, 0.60),
    glow=(1, 1, 1),
)
_DUSK = Light(
    zenith=(86, 74, 140),
    horizon=(252, 166, 96),
    cloud=(240, 160, 146),
    sun=(255, 222, 140),
    tint=(0.90, 0.70, 0.64),
    glow=(0.95, 0.95, 0.95),
)
_DAY = Light(
    zenith=(66, 128, 214),
    horizon=(186, 218, 246),
    cloud=(250, 250, 252),
    sun=(255, 240, 160),
    tint=(1, 1, 1),
    glow=(0, 0, 0),
)
_OVERCAST = Light(
    zenith=(138, 146, 156),
    horizon=(200, 204, 208),
    cloud=(224, 226, 230),
    sun=(206, 208, 210),
    tint=(0.78, 0.80, 0.82),
    glow=(0.1, 0.1, 0.1),
)


def light_of(hour: float, grey: float) -> Light:
    """Return the light at `hour`, 0 night, 1 dusk, 2 day, and `grey` from 0 clear to 1 overcast (by day)."""
    if hour < 1:
        return _NIGHT.mixed(_DUSK, hour)
    return _DUSK.mixed(_DAY, hour - 1).mixed(_OVERCAST, grey * (hour - 1))


def mix(one: Color, other: Color, part: float) -> Color:
    """Return the colour between two."""
    red, green, blue = (a + (b - a) * part for a, b in zip(one, other, strict=True))
    return red, green, blue


def scaled(color: Color, factor: float) -> Color:
    """Return a colour made lighter or darker."""
    return color[0] * factor, color[1] * factor, color[2] * factor


def rgb(color: Color) -> tuple[int, int, int]:
    """Return a colour as three bytes."""
    red, green, blue = (max(0, min(255, round(part))) for part in color)
    return red, green, blue
