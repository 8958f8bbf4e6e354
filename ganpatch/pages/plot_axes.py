"""The frame of a chart: a plot with axes, round ticks and text, as SVG that looks the same on a page and on its own.

Example:

    plot = Plot(x=Axis.over([0, 12], "images"), y=Axis.over([0, 0.4], "share"))
    body = [*plot.axes(), f'<circle cx="{plot.across(3):.1f}" cy="{plot.up(0.2):.1f}" r="3"/>']
    svg(plot.outer, body, title)
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

# Distinguishable with colour vision deficiency (Okabe and Ito 2008), then lighter and darker variants.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#8f8f00", "#6a3d9a", "#7f7f7f", "#a6761d")
# What is before a patch, after it, and with random units instead has the same colour in every report.
BEFORE, AFTER, BASELINE = "#7f7f7f", "#0072b2", "#e69f00"
_TEXT, _LEFT, _TOP, _BOTTOM, _RIGHT = 12, 150, 10, 40, 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """What an axis shows, and between which round numbers."""

    low: float
    high: float
    label: str
    ticks: tuple[float, ...] = ()

    @classmethod
    def over(cls, values: Iterable[float], label: str) -> "Axis":
        """Return an axis that holds `values` and zero; ticks are 1, 2 or 5 times a power of 10 apart."""
        numbers = [*values, 0.0]
        low, high = min(numbers), max(numbers)
        high = high if high > low else low + 1
        rough = (high - low) / 5
        power = 10 ** math.floor(math.log10(rough))
        step = next(step for step in (power, 2 * power, 5 * power, 10 * power) if step >= rough)
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        ticks = tuple(round(count * step, 12) for count in range(first, last + 1))
        return cls(low=ticks[0], high=ticks[-1], label=label, ticks=ticks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A plot of two axes; without `y`, rows are placed by hand from `top` on."""

    x: Axis
    y: Axis | None = None
    width: float = 560
    height: float = 240
    left: float = _LEFT
    top: float = _TOP

    @property
    def outer(self) -> tuple[float, float]:
        """The width and height of the chart with its text."""
        return self.left + self.width + _RIGHT, self.top + self.height + _BOTTOM

    def across(self, value: float) -> float:
        """Return the x coordinate of a value."""
        return self.left + (value - self.x.low) / (self.x.high - self.x.low) * self.width

    def up(self, value: float) -> float:
        """Return the y coordinate of a value."""
        assert self.y is not None
        return self.top + (self.y.high - value) / (self.y.high - self.y.low) * self.height

    def axes(self) -> list[str]:
        """Draw the axes: lines at the ticks, their numbers, and what they show."""
        bottom = self.top + self.height
        drawn = [_line(self.left, bottom, self.left + self.width, bottom, 0.5)]
        for tick in self.x.ticks:
            x = self.across(tick)
            drawn += [_line(x, self.top, x, bottom, 0.12), text(x, bottom + 15, f"{tick:g}", anchor="middle")]
        drawn.append(text(self.left + self.width / 2, bottom + 33, self.x.label, anchor="middle"))
        for tick in self.y.ticks if self.y else ():
            y = self.up(tick)
            drawn.append(_line(self.left, y, self.left + self.width, y, 0.12))
            drawn.append(text(self.left - 7, y + 4, f"{tick:g}", anchor="end"))
        if self.y:
            middle = self.top + self.height / 2
            drawn.append(text(self.left - 52, middle, self.y.label, anchor="middle", turned=True))
        return drawn


def svg(size: tuple[float, float], body: Sequence[str], title: str) -> str:
    """Return an SVG of a width and height that takes the text colour of what surrounds it."""
    shape = f'viewBox="0 0 {size[0]:.0f} {size[1]:.0f}" style="max-width:{size[0]:.0f}px" font-family="sans-serif"'
    return (
        f'<svg {shape} role="img" aria-label="{escape(title)}" xmlns="http://www.w3.org/2000/svg">{"".join(body)}</svg>'
    )


def text(x: float, y: float, words: str, *, anchor: str = "start", turned: bool = False) -> str:
    """Return a text at a place; `turned` by a quarter, along a vertical axis."""
    turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{_TEXT}" fill="currentColor"'
    return f"<text {place}{turn}>{escape(words)}</text>"


def legend(names: Sequence[tuple[str, str]], left: float, top: float, width: float) -> tuple[list[str], float]:
    """Draw names with their colours in as many lines as they need; return them and their height."""
    drawn, x, y = [], left, top
    for name, colour in names:
        length = 24 + 7.0 * len(name)
        if x > left and x + length > left + width:
            x, y = left, y + 18
        drawn.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="10" height="10" rx="2" fill="{colour}"/>')
        drawn.append(text(x + 15, y + 9, name))
        x += length
    return drawn, y - top + 18


def _line(x0: float, y0: float, x1: float, y1: float, opacity: float) -> str:
    return f'<path d="M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}" fill="none" stroke="currentColor" opacity="{opacity}"/>'
