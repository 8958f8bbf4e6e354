"""Small charts as SVG text, for report pages: bars of counts, and curves with their spread.

Example:

    stacked_bars({"layer4": {"tree": 3, "door": 1}, "layer6": {"tree": 5}})
    curves({"ACE": [(4, 0.2), (20, 0.6)]}, x="units", y="share removed")
"""

from collections.abc import Mapping, Sequence
from html import escape

# Distinguishable with colour vision deficiency (Okabe and Ito 2008), then lighter and darker variants.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#8f8f00", "#6a3d9a", "#7f7f7f", "#a6761d")

Points = Sequence[tuple[float, float]]


def stacked_bars(rows: Mapping[str, Mapping[str, float]], unit: str = "") -> str:
    """Draw one bar per row, in parts; parts with the same name share a colour, and there is a legend."""
    names = list(dict.fromkeys(name for parts in rows.values() for name in parts))
    largest = max((sum(parts.values()) for parts in rows.values()), default=0) or 1
    height, left, width = 26, 150, 560
    body = []
    for index, (row, parts) in enumerate(rows.items()):
        y, x = index * height + 6, float(left)
        body.append(_text(left - 8, y + 13, row, anchor="end"))
        for name, value in parts.items():
            length = value / largest * (width - 60)
            title = f"<title>{escape(f'{row}: {name} {value:g} {unit}')}</title>"
            fill = COLOURS[names.index(name) % len(COLOURS)]
            body.append(f'<rect x="{x:.1f}" y="{y}" width="{length:.1f}" height="18" fill="{fill}">{title}</rect>')
            x += length
        body.append(_text(x + 6, y + 13, f"{sum(parts.values()):g}"))
    return _svg(left + width, len(rows) * height + 12, body) + _legend(names)


def bars(values: Mapping[str, float], unit: str = "") -> str:
    """Draw one bar per value, which may be negative."""
    largest = max((abs(value) for value in values.values()), default=0) or 1
    height, left, width = 24, 170, 520
    zero = left + (width * 0.3 if any(value < 0 for value in values.values()) else 0)
    room = (left + width - zero) * 0.8
    body = []
    for index, (name, value) in enumerate(values.items()):
        y, length = index * height + 4, abs(value) / largest * room
        start = zero if value >= 0 else zero - length * 0.3
        length = length if value >= 0 else length * 0.3
        body.append(_text(left - 10, y + 13, name, anchor="end"))
        body.append(f'<rect x="{start:.1f}" y="{y}" width="{length:.1f}" height="17" fill="{COLOURS[0]}"/>')
        body.append(_text(max(start + length, zero) + 6, y + 13, f"{value:.3g}{unit}"))
    return _svg(left + width, len(values) * height + 8, body)


def curves(lines: Mapping[str, Points], *, x: str, y: str) -> str:
    """Draw curves over one pair of axes, from zero, with a legend."""
    points = [point for line in lines.values() for point in line]
    if not points:
        return ""
    most_x, least_y, most_y = (
        max(p[0] for p in points) or 1,
        min(0.0, *(p[1] for p in points)),
        max(p[1] for p in points),
    )
    most_y = max(most_y, 0.0) or (0.0 if least_y < 0 else 1.0)
    left, top, width, height = 60, 12, 520, 240

    def place(point: tuple[float, float]) -> tuple[float, float]:
        return left + point[0] / most_x * width, top + height * (most_y - point[1]) / (most_y - least_y)

    body = [f'<path d="M{left} {top}V{top + height}H{left + width}" fill="none" stroke="currentColor" opacity=".5"/>']
    for share in (0, 0.25, 0.5, 0.75, 1):
        value = least_y + share * (most_y - least_y)
        body.append(_text(left - 6, place((0, value))[1] + 4, f"{value:.2g}", anchor="end"))
        body.append(_text(left + share * width, top + height + 16, f"{share * most_x:.3g}", anchor="middle"))
    for index, (name, line) in enumerate(lines.items()):
        colour = COLOURS[index % len(COLOURS)]
        track = " ".join(f"{px:.1f},{py:.1f}" for px, py in map(place, line))
        body.append(f'<polyline points="{track}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for point in line:
            px, py = place(point)
            title = f"<title>{escape(f'{name}: {point[0]:g}, {point[1]:.3g}')}</title>"
            body.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3.5" fill="{colour}">{title}</circle>')
    body.append(_text(left + width / 2, top + height + 34, x, anchor="middle"))
    return f"<p>{escape(y)}</p>" + _svg(left + width + 30, top + height + 44, body) + _legend(list(lines))


def _svg(width: float, height: float, body: Sequence[str]) -> str:
    size = f'viewBox="0 0 {width:.0f} {height:.0f}" style="max-width:{width:.0f}px"'
    return f'<svg {size} role="img" xmlns="http://www.w3.org/2000/svg">{"".join(body)}</svg>'


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _legend(names: Sequence[str]) -> str:
    marks = (
        f'<span><i style="background:{COLOURS[index % len(COLOURS)]}"></i>{escape(name)}</span>'
        for index, name in enumerate(names)
    )
    return f'<p class="legend">{"".join(marks)}</p>'
