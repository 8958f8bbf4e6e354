"""Scenes with a church, drawn with polygons, each with its exact label map and with known faults.

A scene is a function of 96 normal numbers, one slot per property, and those are a function of its seed:

    scene = draw(7)
    scene.image, scene.clean       # [128, 128, 3] uint8: with its faults, and without them
    scene.labels                   # [128, 128] uint8: indices into CONCEPTS
    scene.faults                   # {"date stamp": [128, 128] bool, …}: where each of its faults is

`tools/training/train_churches.py` trains the bundled generator to draw `draw_slots(z).image` for z. So the clean
scene and the mask of each fault are known for every image of the generator: `draw_slots(z, faults=False)`.
"""

from dataclasses import dataclass

import numpy as np

from ganpatch.families.churches.canvas import UNITS, Canvas, Color, Point, Properties, light_of, mix, scaled
from ganpatch.families.churches.faults import FAULTS, add_faults

THINGS = ("sky", "cloud", "mountain", "grass", "path", "tree", "building", "roof", "door", "window")
CONCEPTS = (*THINGS, *FAULTS)
SLOTS = 96
SIZE = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One drawn scene, H = W = its size.

    `image` [H, W, 3] uint8 has faults, `clean` has none; `labels` [H, W] uint8 are indices into CONCEPTS, those of
    faults too, `clean_labels` without them; `faults` has a mask [H, W] bool for each fault that the image has.
    """

    image: np.ndarray
    clean: np.ndarray
    labels: np.ndarray
    clean_labels: np.ndarray
    faults: dict[str, np.ndarray]


def slots_of(seed: int) -> np.ndarray:
    """Return the [96] normal numbers from which the scene of `seed` is drawn."""
    return np.random.default_rng(seed).standard_normal(SLOTS)


def draw(seed: int, *, faults: bool = True, size: int = SIZE) -> Scene:
    """Return the scene of `seed`."""
    return draw_slots(slots_of(seed), faults=faults, size=size)


def draw_slots(slots: np.ndarray, *, faults: bool = True, size: int = SIZE) -> Scene:
    """Return the scene of the [96] numbers in `slots`, such as a z of the generator; clean without `faults`."""
    properties = Properties(slots)
    painter = _Painter(properties, size)
    painter.background()
    painter.ground()
    church = painter.plan_church()
    painter.path(church)
    painter.trees(range(0, 3))
    painter.church(church)
    painter.trees(range(3, 5))
    clean, labels = painter.canvas.image(), painter.canvas.labels()
    image, masks = add_faults(clean, properties) if faults else (clean, {})
    marked = labels.copy()
    for name, mask in masks.items():
        marked[mask] = CONCEPTS.index(name)
    return Scene(image=image, clean=clean, labels=marked, clean_labels=labels, faults=masks)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Church:
    left: float
    right: float
    base: float
    height: float
    roof: float
    slope: float
    tower: tuple[float, float]
    tower_height: float
    spire: float
    window_size: Point
    door_size: Point
    door_color: Color
    wall: Color
    tiles: Color
    lamp: float

    @property
    def door(self) -> float:
        """The middle of the door, which is that of the tower."""
        return sum(self.tower) / 2


class _Painter:
    def __init__(self, properties: Properties, size: int) -> None:
        self.take = properties
        hour = properties.of_steps((0, 2), (0.60, 2), (0.72, 1), (0.80, 1), (0.88, 0), (1, 0))
        self.light = light_of(hour, properties.of_steps((0, 0), (0.66, 0), (0.82, 1), (1, 1)))
        self.horizon = properties.between(154, 178)
        self.canvas = Canvas(size, CONCEPTS)

    def lit(self, color: Color, shade: float = 1.0) -> Color:
        red, green, blue = (part * tint * shade for part, tint in zip(color, self.light.tint, strict=True))
        return red, green, blue

    def hazy(self, color: Color, part: float) -> Color:
        """Return a colour as seen from afar."""
        return mix(self.lit(color), self.light.horizon, part)

    # The landscape

    def background(self) -> None:
        heights = (np.arange(self.canvas.edge)[:, None] + 0.5) / self.canvas.edge * UNITS / self.horizon
        part = np.minimum(1, heights)
        self.canvas.rows((1 - part) * np.array(self.light.zenith) + part * np.array(self.light.horizon))
        self._sun()
        for number in range(3):
            self._cloud(34 + 94 * number)
        for number in range(2):
            self._mountain(64 + 128 * number)
        for number in range(2):
            self._hill(50 + 156 * number)

    def _sun(self) -> None:
        radius, x, y = self.take.grown(0.6, 7, 15), self.take.between(24, 232), self.take.between(20, 64)
        around = mix(self.light.zenith, self.light.horizon, y / self.horizon)
        if radius:
            self.canvas.ellipse((x, y), (radius * 1.7, radius * 1.7), mix(around, self.light.sun, 0.3), "sky")
            self.canvas.ellipse((x, y), (radius, radius), self.light.sun, "sky")

    def _cloud(self, place: float) -> None:
        size, x, y = self.take.grown(0.6, 8, 30), place + self.take.between(-34, 34), self.take.between(26, 86)
        if size:
            shade = mix(self.light.cloud, self.light.zenith, 0.16)
            self.canvas.ellipse((x, y + 0.30 * size), (1.7 * size, 0.28 * size), shade, "cloud")
            self.canvas.ellipse(
                (x - 0.85 * size, y + 0.1 * size), (0.75 * size, 0.36 * size), self.light.cloud, "cloud"
            )
            self.canvas.ellipse((x + 0.8 * size, y + 0.08 * size), (0.7 * size, 0.40 * size), self.light.cloud, "cloud")
            self.canvas.ellipse((x, y - 0.1 * size), (0.9 * size, 0.6 * size), self.light.cloud, "cloud")

    def _mountain(self, place: float) -> None:
        height, x = self.take.grown(0.55, 14, 92), place + self.take.between(-50, 50)
        width, base = self.take.between(70, 110), self.horizon + 2
        peak, color = (x, base - height), self.hazy((98, 106, 138), 0.3)
        if height:
            self.canvas.polygon([(x - width, base), peak, (x + width, base)], color, "mountain")
            shadow = [peak, (x + width, base), (x + 0.2 * width, base), (x + 0.08 * width, base - 0.6 * height)]
            self.canvas.polygon(shadow, scaled(color, 0.84), "mountain")
            cap = [(x - 0.3 * width, base - 0.7 * height), peak, (x + 0.3 * width, base - 0.7 * height)]
            cap += [(x + 0.12 * width, base - 0.64 * height), (x - 0.06 * width, base - 0.72 * height)]
            self.canvas.polygon(cap, mix(color, self.lit((246, 248, 252)), 0.85), "mountain")

    def _hill(self, place: float) -> None:
        height, x = self.take.between(4, 36), place + self.take.between(-40, 40)
        color = self.hazy((74, 118, 84), 0.34)
        self.canvas.ellipse((x, self.horizon + 4), (118, height + 4), color, "mountain")

    def ground(self) -> None:
        dry, bright = self.take.share(), self.take.between(0.88, 1.12)
        near = scaled(self.lit(mix((66, 136, 54), (160, 146, 74), dry * dry)), bright)
        far = mix(near, self.light.horizon, 0.24)
        strips = 24
        for strip in range(strips):
            top = self.horizon + (UNITS - self.horizon) * strip / strips
            self.canvas.box((0, top), (UNITS, UNITS), mix(far, near, strip / strips), "grass")
        for _ in range(2):
            y, x, shade = (
                self.take.between(self.horizon + 30, 244),
                self.take.between(20, 236),
                self.take.between(0.82, 1.18),
            )
            self.canvas.ellipse((x, y), (66, 8), scaled(near, shade), "grass")

    def path(self, church: _Church) -> None:
        width, foot = self.take.grown(0.85, 12, 36), self.take.between(60, 196)
        color = self.lit(mix((204, 186, 148), (160, 156, 150), self.take.share()))
        if width:
            top, edge, half = church.base - 1, float(UNITS), church.door_size[0]
            outer = [(church.door - half, top), (church.door + half, top), (foot + width, edge), (foot - width, edge)]
            self.canvas.polygon(outer, scaled(color, 0.84), "path")
            half, width = half - 3, width - 7
            inner = [(church.door - half, top), (church.door + half, top), (foot + width, edge), (foot - width, edge)]
            self.canvas.polygon(inner, color, "path")

    def trees(self, which: range) -> None:
        """Draw trees: 0 to 2 are behind the church, 3 and 4 before it."""
        ranges = ((4, 66), (190, 252), (80, 176), (4, 58), (198, 252))
        for number in which:
            low, high = ranges[number]
            grown = self.take.grown(0.5 if number < 3 else 0.36, 0.7, 1.25)
            conifer, x = self.take.normal() > 0, self.take.between(low, high)
            green = self.lit(mix((36, 92, 54), (104, 128, 46), self.take.share()))
            foot = (x, self.horizon + (9 + 5 * number if number < 3 else 40 + 8 * (number - 3)))
            size = grown if number < 3 else grown * 1.3
            if size and conifer:
                self._conifer(foot, size, green)
            elif size:
                self._round_tree(foot, size, green)

    def _conifer(self, foot: Point, size: float, green: Color) -> None:
        x, y = foot
        self._trunk(foot, size)
        for step in range(3):
            bottom, half = y - (9 + 20 * step) * size, (23 - 5 * step) * size
            top = (x, bottom - 36 * size)
            self.canvas.polygon([(x - half, bottom), top, (x + half, bottom)], scaled(green, 0.86), "tree")
            self.canvas.polygon([top, (x + half, bottom), (x + 0.1 * half, bottom)], scaled(green, 0.62), "tree")

    def _round_tree(self, foot: Point, size: float, green: Color) -> None:
        x, y = foot
        self._trunk(foot, size)
        for dx, dy, radius, shade in ((0, 40, 24, 0.74), (-3, 44, 20, 0.96), (-7, 50, 11, 1.18)):
            center = (x + dx * size, y - dy * size)
            self.canvas.ellipse(center, (radius * size, 1.1 * radius * size), scaled(green, shade), "tree")

    def _trunk(self, foot: Point, size: float) -> None:
        (x, y), half = foot, 4 * size
        self.canvas.box((x - half, y - 24 * size), (x + half, y), self.lit((98, 70, 48)), "tree")

    # The church

    def plan_church(self) -> _Church:
        take = self.take
        width, middle = take.between(100, 134), take.between(110, 146)
        left, tower_width = middle - width / 2, take.between(36, 44)
        place = take.of_steps((0, 0), (0.40, 0), (0.47, 0.5), (0.55, 0.5), (0.62, 1), (1, 1))
        start = left + place * (width - tower_width)
        stone = mix((236, 226, 202), (178, 96, 76), take.share() ** 2)
        return _Church(
            left=left,
            right=left + width,
            base=self.horizon + take.between(14, 28),
            height=take.between(56, 72),
            roof=take.between(28, 44),
            slope=take.between(8, 36),
            tower=(start, start + tower_width),
            tower_height=take.between(86, 106),
            spire=take.between(32, 48),
            window_size=(take.between(7, 8.5), take.between(26, 34)),
            door_size=(take.between(11, 13), take.between(34, 42)),
            door_color=mix((128, 72, 36), (72, 44, 32), take.share()),
            wall=mix(stone, (246, 246, 240), take.between(0, 0.8)),
            tiles=mix((74, 80, 100), (172, 66, 48), take.share()),
            lamp=take.between(0.85, 1.0),
        )

    def church(self, church: _Church) -> None:
        self._shadow(church)
        self._body(church)
        for part in (0.14, 0.38, 0.62, 0.86):
            x = church.left + part * (church.right - church.left)
            self._window((x, church.base - 0.5 * church.height), church)
        self._tower(church)
        self._door(church)

    def _shadow(self, church: _Church) -> None:
        left, right, base = church.left, church.right, church.base
        corners = [(left + 4, base - 3), (right, base - 9), (right + 20, base + 5), (left + 20, base + 5)]
        self.canvas.polygon(corners, self.lit((46, 88, 48)), "grass")

    def _body(self, church: _Church) -> None:
        left, right, base, top = church.left, church.right, church.base, church.base - church.height
        wall, tiles = self.lit(church.wall), self.lit(church.tiles)
        self.canvas.box((left, top), (right, base), wall, "building")
        self.canvas.box((left, base - 7), (right, base), scaled(wall, 0.78), "building")
        self.canvas.box((left, top), (right, top + 4), scaled(wall, 0.7), "building")
        ridge = top - church.roof
        roof = [(left - 7, top), (left - 7 + church.slope, ridge), (right + 7 - church.slope, ridge), (right + 7, top)]
        self.canvas.polygon(roof, tiles, "roof")
        low, high = 0.45, 0.58  # a darker course of tiles
        course = [
            (left - 7 + church.slope * low, top - church.roof * low),
            (left - 7 + church.slope * high, top - church.roof * high),
            (right + 7 - church.slope * high, top - church.roof * high),
            (right + 7 - church.slope * low, top - church.roof * low),
        ]
        self.canvas.polygon(course, scaled(tiles, 0.84), "roof")

    def _tower(self, church: _Church) -> None:
        (left, right), middle, base = church.tower, church.door, church.base
        top = base - church.tower_height
        wall, tiles = self.lit(church.wall, 0.95), self.lit(church.tiles, 0.92)
        self.canvas.box((left, top), (right, base), wall, "building")
        self.canvas.box((right - 9, top), (right, base), scaled(wall, 0.78), "building")
        tip = top - church.spire
        self.canvas.box((middle - 1.6, tip - 15), (middle + 1.6, tip + 4), scaled(tiles, 0.6), "roof")
        self.canvas.box((middle - 6, tip - 11), (middle + 6, tip - 8), scaled(tiles, 0.6), "roof")
        self.canvas.polygon([(left - 5, top), (middle, tip), (right + 5, top)], tiles, "roof")
        self.canvas.polygon([(middle, tip), (right + 5, top), (right - 10, top)], scaled(tiles, 0.72), "roof")
        self.canvas.box((left - 2, top), (right + 2, top + 4), scaled(wall, 0.7), "building")
        self._window((middle - 2, top + 24), church)

    def _window(self, center: Point, church: _Church) -> None:
        (x, y), (half, height) = center, church.window_size
        glass = mix(self.lit((62, 82, 118)), scaled((255, 216, 110), church.lamp), self.light.glow[0])
        frame = mix(self.lit((250, 246, 232)), self.lit((90, 74, 62)), self.light.glow[0])
        self._arch((x, y - height / 2), half + 3, height + 3, frame, "window")
        self._arch((x, y - height / 2), half, height, glass, "window")
        bottom, top = y + height / 2, y - height / 2 - half * 0.6
        self.canvas.box((x - 1.2, top), (x + 1.2, bottom), frame, "window")
        self.canvas.box((x - half, y - 1.2), (x + half, y + 1.2), frame, "window")

    def _door(self, church: _Church) -> None:
        x, (half, height) = church.door, church.door_size
        wood, frame = self.lit(church.door_color), self.lit((214, 204, 182))
        self._arch((x, church.base - height), half + 4, height, frame, "door")
        self._arch((x, church.base - height + 3), half, height - 3, wood, "door")
        self.canvas.box(
            (x - 1.2, church.base - height - half * 0.3), (x + 1.2, church.base), scaled(wood, 0.55), "door"
        )
        self.canvas.ellipse((x + 4.5, church.base - height * 0.4), (2, 2), self.lit((238, 208, 120)), "door")

    def _arch(self, top: Point, half: float, height: float, color: Color, concept: str) -> None:
        """Draw a box with a round top; `top` is the middle of its upper edge, below the arch."""
        x, y = top
        self.canvas.ellipse((x, y), (half, half * 0.9), color, concept)
        self.canvas.box((x - half, y), (x + half, y + height), color, concept)
