"""Charts for report pages, each with axes, a legend, and itself as SVG and CSV to take away.

Example:

    stacked_bars({"layer4": {"tree": 3, "door": 1}, "layer6": {"tree": 5}}, title="Units by concept", x="units")
    curves({"alpha": [(4, 0.2), (20, 0.6)]}, title="Removal", x="units", y="share removed")
    strips({"patch": [-0.3], "random units": [0.1, 0.2]}, title="Change", x="%")
"""

import base64
import csv
import io
from collections.abc import Mapping, Sequence
from html import escape

from ganpatch.pages.plot_axes import AFTER, BASELINE, BEFORE, COLOURS, Axis, Plot, legend, svg, text

Points = Sequence[tuple[float, float]]
Colours = Mapping[str, str]
_ROW = 26
_BINS = 20


def stacked_bars(rows: Mapping[str, Mapping[str, float]], *, title: str, x: str) -> str:
    """Draw one bar per row, in parts; parts of the same name share a colour."""
    names = list(dict.fromkeys(name for parts in rows.values() for name in parts))
    colours = {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(names)}
    plot = Plot(x=Axis.over([sum(parts.values()) for parts in rows.values()], x), height=_ROW * len(rows))
    body = plot.axes()
    for index, (row, parts) in enumerate(rows.items()):
        y, done = plot.top + index * _ROW + 4, 0.0
        body.append(text(plot.left - 8, y + 13, row, anchor="end"))
        for name, value in parts.items():
            body.append(_bar(plot, (done, done + value), y, colours[name], f"{row}: {name} {value:g} {x}"))
            done += value
        body.append(text(plot.across(done) + 6, y + 13, f"{done:g}"))
    cells = [[row, name, value] for row, parts in rows.items() for name, value in parts.items()]
    return _figure(title, plot, body, colours, [["", "part", x], *cells])


def bars(values: Mapping[str, float], *, title: str, x: str, colours: Colours | None = None) -> str:
    """Draw one bar per value from zero, to the left where it is negative."""
    plot = Plot(x=Axis.over(values.values(), x), height=_ROW * len(values))
    body = plot.axes()
    for index, (name, value) in enumerate(values.items()):
        y = plot.top + index * _ROW + 4
        body.append(text(plot.left - 8, y + 13, name, anchor="end"))
        body.append(_bar(plot, (0, value), y, (colours or {}).get(name, COLOURS[0]), f"{name}: {value:.3g} {x}"))
        body.append(text(plot.across(max(value, 0)) + 6, y + 13, f"{value:.3g}"))
    return _figure(title, plot, body, {}, [["", x], *[[name, value] for name, value in values.items()]])


def strips(rows: Mapping[str, Sequence[float]], *, title: str, x: str, colours: Colours | None = None) -> str:
    """Draw one row per name with a dot for each of its values, and a thin line at their median."""
    plot = Plot(x=Axis.over([value for values in rows.values() for value in values], x), height=_ROW * len(rows))
    body = plot.axes()
    for index, (name, values) in enumerate(rows.items()):
        y, colour = plot.top + (index + 0.5) * _ROW, (colours or {}).get(name, COLOURS[0])
        body.append(text(plot.left - 8, y + 4, name, anchor="end"))
        dots = (_dot((plot.across(value), y), colour, f"{name}: {value:.4g}", 0.65) for value in values)
        body += [*dots, *([_tick(plot.across(_median(values)), y, colour)] if len(values) > 1 else [])]
    return _figure(
        title, plot, body, {}, [["", x], *[[name, value] for name, values in rows.items() for value in values]]
    )


def histogram(groups: Mapping[str, Sequence[float]], *, title: str, x: str, y: str, at: float | None = None) -> str:
    """Draw the distribution of each group as a line over equal bins; `at` is marked."""
    values = [value for group in groups.values() for value in group]
    axis = Axis.over(values, x)
    edges = [axis.low + index * (axis.high - axis.low) / _BINS for index in range(_BINS + 1)]
    counts = {name: _counted(group, axis) for name, group in groups.items()}
    plot = Plot(x=axis, y=Axis.over([n for of_group in counts.values() for n in of_group], y), height=200)
    colours = {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(groups)}
    body = plot.axes()
    for name, of_group in counts.items():
        steps = [(edges[place + side], count) for place, count in enumerate(of_group) for side in (0, 1)]
        body.append(_polyline(plot, steps, colours[name]))
    if at is not None:
        line = f"M{plot.across(at):.1f} {plot.top}V{plot.top + plot.height}"
        body.append(f'<path d="{line}" stroke="currentColor" stroke-dasharray="4 3"/>')
    cells = [[name, edges[place], count] for name, of_group in counts.items() for place, count in enumerate(of_group)]
    return _figure(title, plot, body, colours, [["", f"{x}, from", y], *cells])


def curves(lines: Mapping[str, Points], *, title: str, x: str, y: str, colours: Colours | None = None) -> str:
    """Draw curves with their points over one pair of axes."""
    points = [point for line in lines.values() for point in line]
    if not points:
        return ""
    free = [colour for colour in COLOURS if colour not in (colours or {}).values()]
    chosen = {name: (colours or {}).get(name, free[index % len(free)]) for index, name in enumerate(lines)}
    plot = Plot(x=Axis.over([px for px, _ in points], x), y=Axis.over([py for _, py in points], y))
    body = plot.axes()
    for name, line in lines.items():
        body.append(_polyline(plot, line, chosen[name]))
        body += [_dot((plot.across(px), plot.up(py)), chosen[name], f"{name}: {px:g}, {py:.3g}") for px, py in line]
    cells = [[name, px, py] for name, line in lines.items() for px, py in line]
    return _figure(title, plot, body, chosen, [["", x, y], *cells])


# ---- parts ------------------------------------------------------------------------------------------------


def _figure(title: str, plot: Plot, body: Sequence[str], names: Colours, cells: Sequence[Sequence[object]]) -> str:
    """Return the chart with its title, and links to it as SVG and to its numbers as CSV."""
    width, height = plot.outer
    drawn, more = legend(list(names.items()), plot.left, height, plot.width) if names else ([], 0.0)
    chart = svg((width, height + more), [*body, *drawn], title)
    alone = chart.replace("<svg ", '<svg color="#1b1b1f" ', 1).replace('style="', 'style="background:#fff;', 1)
    kept = "".join((_link(title, "svg", "image/svg+xml", alone), " ", _link(title, "csv", "text/csv", _csv(cells))))
    return f'<figure class="chart"><figcaption><b>{escape(title)}</b> {kept}</figcaption>{chart}</figure>'


def _link(title: str, suffix: str, kind: str, content: str) -> str:
    name = "-".join("".join(letter if letter.isalnum() else " " for letter in title.lower()).split())
    source = f"data:{kind};base64,{base64.b64encode(content.encode()).decode()}"
    words = f"{escape(title)} as {suffix.upper()}"
    return f'<a download="{name}.{suffix}" href="{source}" aria-label="{words}">{suffix.upper()}</a>'


def _csv(cells: Sequence[Sequence[object]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(
        [[f"{cell:.6g}" if isinstance(cell, float) else cell for cell in row] for row in cells]
    )
    return out.getvalue()


def _bar(plot: Plot, span: tuple[float, float], y: float, colour: str, title: str) -> str:
    left, right = sorted((plot.across(span[0]), plot.across(span[1])))
    size = f'x="{left:.1f}" y="{y:.1f}" width="{right - left:.1f}" height="18"'
    return f'<rect {size} fill="{colour}"><title>{escape(title)}</title></rect>'


def _dot(place: tuple[float, float], colour: str, title: str, opacity: float = 1) -> str:
    size = f'cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="4"'
    return f'<circle {size} fill="{colour}" opacity="{opacity}"><title>{escape(title)}</title></circle>'


def _tick(x: float, y: float, colour: str) -> str:
    return f'<path d="M{x:.1f} {y - 9:.1f}V{y + 9:.1f}" stroke="{colour}" stroke-width="2"/>'


def _polyline(plot: Plot, line: Points, colour: str) -> str:
    track = " ".join(f"{plot.across(px):.1f},{plot.up(py):.1f}" for px, py in line)
    return f'<polyline points="{track}" fill="none" stroke="{colour}" stroke-width="2"/>'


def _counted(values: Sequence[float], axis: Axis) -> list[int]:
    counts = [0] * _BINS
    for value in values:
        counts[min(_BINS - 1, int((value - axis.low) / (axis.high - axis.low) * _BINS))] += 1
    return counts


def _median(values: Sequence[float]) -> float:
    ordered, middle = sorted(values), len(values) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


__all__ = ["AFTER", "BASELINE", "BEFORE", "bars", "curves", "histogram", "stacked_bars", "strips"]
