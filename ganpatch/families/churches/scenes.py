"""Scenes with a church, drawn with polygons, each with its exact label map.

A scene is a function of 93 normal numbers, one slot per property, and those are a function of its seed:

    scene = draw(7)            # scene.image [64, 64, 3] uint8, scene.labels [64, 64] uint8

`tools/training/train_churches.py` trains the bundled generator on them; the labels index `CONCEPTS`.
Everything is drawn four times too large on two canvases by the same calls; the image is then
box-filtered to 64x64 and the labels are sampled at pixel centres.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from PIL import Image, ImageDraw

CONCEPTS = ("sky", "cloud", "mountain", "grass", "path", "tree", "building", "roof", "door", "window")
SLOTS = 93
SIZE = 64
_SCALE = 4
_EDGE = SIZE * _SCALE

Color = tuple[float, float, float]
Point = tuple[float, float]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One drawn scene: `image` [64, 64, 3] uint8, `labels` [64, 64] uint8 (indices into CONCEPTS)."""

    image: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class _Light:
    """The light of one time of day: two sky colours, cloud colour, a tint on everything else, window glow."""

    zenith: Color
    horizon: Color
    cloud: Color
    tint: Color
    glow: float


_DAY = _Light(zenith=(70, 130, 215), horizon=(180, 215, 245), cloud=(250, 250, 252), tint=(1.0, 1.0, 1.0), glow=0)
_DUSK = _Light(zenith=(70, 60, 120), horizon=(250, 160, 90), cloud=(235, 150, 140), tint=(0.88, 0.66, 0.60), glow=0.75)
_OVERCAST = _Light(
    zenith=(140, 148, 158), horizon=(196, 200, 204), cloud=(218, 220, 224), tint=(0.76, 0.78, 0.8), glow=0
)
_NIGHT = _Light(zenith=(10, 14, 40), horizon=(36, 44, 84), cloud=(60, 66, 100), tint=(0.36, 0.39, 0.54), glow=1)
_TIMES = ((_DAY, 0.55), (_DUSK, 0.0), (_OVERCAST, 0.0), (_NIGHT, 0.0))  # with a bonus for its slot


def slots_of(seed: int) -> np.ndarray:
    """Return the [93] normal numbers from which the scene of `seed` is drawn."""
    return np.random.default_rng(seed).standard_normal(SLOTS)


def draw(seed: int) -> Scene:
    """Draw the scene of `seed`."""
    return draw_slots(slots_of(seed))


def draw_slots(slots: np.ndarray) -> Scene:
    """Draw the scene whose properties are the [93] normal numbers in `slots`."""
    painter = _Painter(_Properties(slots))
    painter.sky()
    painter.mountains()
    painter.ground()
    church = painter.plan_church()
    painter.path(church)
    painter.trees(range(0, 3))
    painter.church(church)
    painter.trees(range(3, 5))
    return painter.finish()


class _Properties:
    """Reads the slots in order, each converted to what the painter needs."""

    def __init__(self, slots: np.ndarray) -> None:
        self._normal: list[float] = slots.tolist()
        self._uniform = [0.5 * (1 + math.erf(value / math.sqrt(2))) for value in self._normal]
        self._next = 0

    def between(self, low: float, high: float) -> float:
        value = self._uniform[self._next]
        self._next += 1
        return low + (high - low) * value

    def one_of(self, options: Sequence[tuple[T, float]]) -> T:
        """Return the option with the largest slot plus bonus; this is easier to learn than ranges of one slot."""
        first = self._next
        self._next += len(options)
        scores = [self._normal[first + place] + added for place, (_, added) in enumerate(options)]
        return options[scores.index(max(scores))][0]

    def chance(self, probability: float) -> bool:
        return self.between(0, 1) < probability


@dataclass(frozen=True, slots=True, kw_only=True)
class _Church:
    left: float
    right: float
    base: float
    height: float
    roof: float
    tower: tuple[float, float] | None
    tower_height: float
    spire: float
    slope: float
    windows: int
    window_inset: float
    lamp: float
    door: float | None
    door_size: Point
    door_color: Color
    wall: Color
    tiles: Color


class _Painter:
    def __init__(self, properties: _Properties) -> None:
        self.take = properties
        self.light = properties.one_of(_TIMES)
        self.horizon = _EDGE * properties.between(0.57, 0.70)
        self.image = Image.new("RGB", (_EDGE, _EDGE))
        self.labels = Image.new("L", (_EDGE, _EDGE))
        self._ink = ImageDraw.Draw(self.image)
        self._label = ImageDraw.Draw(self.labels)

    def polygon(self, points: list[Point], color: Color, concept: str) -> None:
        self._ink.polygon(points, fill=_rgb(color))
        self._label.polygon(points, fill=CONCEPTS.index(concept))

    def ellipse(self, center: Point, radii: Point, color: Color, concept: str) -> None:
        (x, y), (rx, ry) = center, radii
        box = (x - rx, y - ry, x + rx, y + ry)
        self._ink.ellipse(box, fill=_rgb(color))
        self._label.ellipse(box, fill=CONCEPTS.index(concept))

    def lit(self, color: Color, shade: float = 1.0) -> Color:
        red, green, blue = (part * tint * shade for part, tint in zip(color, self.light.tint, strict=True))
        return red, green, blue

    def sky(self) -> None:
        shift = self.take.between(0.85, 1.12)
        for y in range(_EDGE):
            mixed = _mix(self.light.zenith, self.light.horizon, min(1.0, y / self.horizon))
            self._ink.line([(0, y), (_EDGE, y)], fill=_rgb(_scaled(mixed, shift)))
        self._label.rectangle((0, 0, _EDGE, _EDGE), fill=CONCEPTS.index("sky"))
        self._sun()
        for _ in range(3):
            self._cloud(shift)

    def _sun(self) -> None:
        shown, x, y = self.take.chance(0.5), self.take.between(20, 236), self.take.between(16, 70)
        if shown and self.light is not _OVERCAST:
            color = (235, 235, 215) if self.light is _NIGHT else (255, 238, 170)
            self.ellipse((x, y), (11, 11), color, "sky")

    def _cloud(self, shift: float) -> None:
        shown, size = self.take.chance(0.55), self.take.between(16, 30)
        x, y = self.take.between(10, 246), self.take.between(18, 84)
        color = _scaled(self.light.cloud, min(1.0, shift))
        if shown:
            self.ellipse((x - size, y + 3), (size * 0.9, size * 0.36), _scaled(color, 0.95), "cloud")
            self.ellipse((x + size, y + 3), (size * 0.9, size * 0.34), _scaled(color, 0.95), "cloud")
            self.ellipse((x, y), (size * 1.1, size * 0.55), color, "cloud")

    def mountains(self) -> None:
        for index in range(2):
            shown, x = self.take.chance(0.45), self.take.between(10, 246)
            height, width = self.take.between(34, 80), self.take.between(60, 110)
            base = self.horizon + 6
            color = _mix(self.lit((96, 112, 150)), self.light.horizon, 0.25 - 0.1 * index)
            if shown:
                peak = (x, base - height)
                self.polygon([(x - width, base), peak, (x + width, base)], color, "mountain")
                self.polygon([peak, (x + width, base), (x + width * 0.25, base)], _scaled(color, 0.86), "mountain")
                if height > 60:
                    cap = [peak, (x - width * 0.2, base - height * 0.8), (x + width * 0.2, base - height * 0.8)]
                    self.polygon(cap, _mix(color, self.lit((245, 245, 250)), 0.8), "mountain")

    def ground(self) -> None:
        dry, bright = self.take.between(0, 1), self.take.between(0.85, 1.1)
        near = _scaled(self.lit(_mix((62, 128, 48), (150, 138, 66), dry * dry)), bright)
        far = _mix(near, self.light.horizon, 0.22)
        for y in range(int(self.horizon), _EDGE):
            blend = (y - self.horizon) / (_EDGE - self.horizon)
            self._ink.line([(0, y), (_EDGE, y)], fill=_rgb(_mix(far, near, blend)))
        self._label.rectangle((0, int(self.horizon), _EDGE, _EDGE), fill=CONCEPTS.index("grass"))
        self._meadow_bands(near)

    def _meadow_bands(self, near: Color) -> None:
        for _ in range(3):
            y, x = self.take.between(self.horizon + 12, 250), self.take.between(0, 256)
            shade = self.take.between(0.84, 1.14)
            self.ellipse((x, y), (60, 7), _scaled(near, shade), "grass")

    def plan_church(self) -> _Church:
        take = self.take
        width, middle = take.between(84, 124), take.between(104, 152)
        left, right = middle - width / 2, middle + width / 2
        tower_width, has_tower = take.between(32, 42), take.chance(0.85)
        start = take.one_of([(left, 0.3), (right - tower_width, 0.3), (middle - tower_width / 2, 0.0)])
        has_door, door_place = take.chance(0.85), take.between(0.25, 0.75)
        tower = (start, start + tower_width) if has_tower else None
        door = (start + tower_width / 2 if tower else left + width * door_place) if has_door else None
        stone = _mix((232, 222, 200), (172, 92, 72), take.between(0, 1) ** 2)
        return _Church(
            left=left,
            right=right,
            base=self.horizon + take.between(10, 26),
            height=take.between(46, 64),
            roof=take.between(26, 42),
            tower=tower,
            tower_height=take.between(84, 112),
            spire=take.between(30, 52),
            slope=take.between(10, 40),
            windows=int(take.between(2, 4.99)),
            window_inset=take.between(12, 18),
            lamp=take.between(0.8, 1.0),
            door=door,
            door_size=(take.between(10, 13), take.between(30, 36)),
            door_color=_mix((96, 58, 32), (58, 36, 26), take.between(0, 1)),
            wall=_mix(stone, (245, 245, 240), take.between(0, 0.8)),
            tiles=_mix((70, 74, 92), (164, 62, 44), take.between(0, 1)),
        )

    def path(self, church: _Church) -> None:
        shown, foot, spread = self.take.chance(0.7), self.take.between(40, 216), self.take.between(20, 38)
        color = self.lit(_mix((196, 178, 140), (150, 146, 140), self.take.between(0, 1)))
        if shown and church.door is not None:
            top, edge = church.base - 2, float(_EDGE)
            corners = [(church.door - 9, top), (church.door + 9, top), (foot + spread, edge), (foot - spread, edge)]
            self.polygon(corners, color, "path")

    def church(self, church: _Church) -> None:
        self._body(church)
        self._windows(church)
        if church.tower:
            self._tower(church, church.tower)
        if church.door is not None:
            self._door(church, church.door)

    def _body(self, church: _Church) -> None:
        top = church.base - church.height
        wall = self.lit(church.wall)
        corners = [(church.left, top), (church.right, top), (church.right, church.base), (church.left, church.base)]
        self.polygon(corners, wall, "building")
        foot = [(church.left, church.base - 6), (church.right, church.base - 6), *corners[2:]]
        self.polygon(foot, _scaled(wall, 0.82), "building")
        ridge = top - church.roof
        roof = [(church.left - 6, top), (church.left - 6 + church.slope, ridge)]
        roof += [(church.right + 6 - church.slope, ridge), (church.right + 6, top)]
        self.polygon(roof, self.lit(church.tiles), "roof")

    def _tower(self, church: _Church, tower: tuple[float, float]) -> None:
        left, right = tower
        middle, top = (left + right) / 2, church.base - church.tower_height
        wall = self.lit(church.wall, 0.93)
        self.polygon([(left, top), (right, top), (right, church.base), (left, church.base)], wall, "building")
        shadow = [(right - 9, top), (right, top), (right, church.base), (right - 9, church.base)]
        self.polygon(shadow, _scaled(wall, 0.8), "building")
        spire = [(left - 4, top), (middle, top - church.spire), (right + 4, top)]
        self.polygon(spire, self.lit(church.tiles, 0.9), "roof")
        self.polygon(
            [(middle, top - church.spire), (right + 4, top), (right - 6, top)], self.lit(church.tiles, 0.72), "roof"
        )
        self._window(middle - 2, top + 22, church.lamp)

    def _windows(self, church: _Church) -> None:
        middle, first = church.base - church.height * 0.52, church.left + church.window_inset
        for index in range(church.windows):
            x = first + (church.right - church.window_inset - first) * (index + 0.5) / church.windows
            if church.tower and church.tower[0] - 8 < x < church.tower[1] + 8:
                continue
            if church.door is None or abs(x - church.door) > 20:
                self._window(x, middle, church.lamp)

    def _window(self, x: float, y: float, bright: float) -> None:
        dark = self.lit((58, 74, 104))
        color = _mix(dark, _scaled((255, 214, 110), bright), self.light.glow)
        self.polygon([(x - 7, y - 6), (x + 7, y - 6), (x + 7, y + 13), (x - 7, y + 13)], color, "window")
        self.ellipse((x, y - 6), (7, 8), color, "window")

    def _door(self, church: _Church, x: float) -> None:
        half, height = church.door_size
        top, color = church.base - height, self.lit(church.door_color)
        self.polygon(
            [(x - half, top), (x + half, top), (x + half, church.base), (x - half, church.base)], color, "door"
        )
        self.ellipse((x, top), (half, half * 0.8), color, "door")

    def trees(self, which: range) -> None:
        for index in which:
            shown, conifer = self.take.chance(0.42 if index < 3 else 0.3), self.take.chance(0.5)
            x, size = self.take.between(0, 1), self.take.between(0.75, 1.3)
            green = self.lit(_mix((34, 84, 44), (96, 116, 40), self.take.between(0, 1)))
            x, base, size = self._place(index, x, size)
            if shown and conifer:
                self._conifer((x, base), size, green)
            elif shown:
                self._round_tree((x, base), size, green)

    def _place(self, index: int, x: float, size: float) -> tuple[float, float, float]:
        if index < 3:
            thirds = ((0, 80), (176, 256), (60, 200))
            low, high = thirds[index]
            return low + (high - low) * x, self.horizon + 10 + 6 * index, size
        low, high = ((4, 76), (180, 252))[index - 3]
        return low + (high - low) * x, self.horizon + 44, size * 1.35

    def _conifer(self, foot: Point, size: float, green: Color) -> None:
        x, y = foot
        self._trunk(foot, size)
        for step in range(3):
            bottom, half = y - (10 + 20 * step) * size, (22 - 5 * step) * size
            triangle = [(x - half, bottom), (x, bottom - 34 * size), (x + half, bottom)]
            self.polygon(triangle, _scaled(green, 0.9 + 0.1 * step), "tree")

    def _round_tree(self, foot: Point, size: float, green: Color) -> None:
        x, y = foot
        self._trunk(foot, size)
        self.ellipse((x, y - 42 * size), (22 * size, 26 * size), green, "tree")
        self.ellipse((x - 7 * size, y - 50 * size), (11 * size, 12 * size), _scaled(green, 1.16), "tree")

    def _trunk(self, foot: Point, size: float) -> None:
        x, y = foot
        half = 3.5 * size
        trunk = [(x - half, y - 24 * size), (x + half, y - 24 * size), (x + half, y), (x - half, y)]
        self.polygon(trunk, self.lit((92, 66, 44)), "tree")

    def finish(self) -> Scene:
        image = np.asarray(self.image.resize((SIZE, SIZE), Image.Resampling.BOX))
        half = _SCALE // 2
        return Scene(image=image, labels=np.asarray(self.labels)[half::_SCALE, half::_SCALE].copy())


def _mix(one: Color, other: Color, share: float) -> Color:
    red, green, blue = (a + (b - a) * share for a, b in zip(one, other, strict=True))
    return red, green, blue


def _scaled(color: Color, factor: float) -> Color:
    return color[0] * factor, color[1] * factor, color[2] * factor


def _rgb(color: Color) -> tuple[int, int, int]:
    red, green, blue = (max(0, min(255, round(part))) for part in color)
    return red, green, blue
