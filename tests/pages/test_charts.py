"""Charts: axes hold every value at round ticks, and what is taken away is the chart and its numbers."""

import base64
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from ganpatch.pages.charts import bars, curves, histogram, stacked_bars, strips
from ganpatch.pages.plot_axes import Axis
from ganpatch.pages.report_frame import paragraph, table, write_report

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.3, 0.97], (0, 0.2, 0.4, 0.6, 0.8, 1)),
        ([-31, 4.2], (-40, -30, -20, -10, 0, 10)),
        ([-3, -1], (-3, -2, -1, 0)),
        ([], (0, 0.2, 0.4, 0.6, 0.8, 1)),
        ([0, 0], (0, 0.2, 0.4, 0.6, 0.8, 1)),
        ([1e-7], (0, 2e-8, 4e-8, 6e-8, 8e-8, 1e-7)),
    ],
)
def test_an_axis_holds_all_values_between_round_ticks(values: list[float], ticks: tuple[float, ...]) -> None:
    axis = Axis.over(values, "x")
    assert axis.ticks == pytest.approx(ticks)
    assert all(axis.low <= value <= axis.high for value in values)


def parts(chart: str) -> tuple[ElementTree.Element, ElementTree.Element, str]:
    """Return the chart of a page, the one that is taken away, and its numbers."""
    shown = ElementTree.fromstring(chart[chart.index("<svg") : chart.index("</svg>") + 6])
    links = dict(re.findall(r'download="[a-z-]+\.(\w+)" href="data:[^;]+;base64,([^"]+)"', chart))
    taken, numbers = (base64.b64decode(links[suffix]).decode() for suffix in ("svg", "csv"))
    return shown, ElementTree.fromstring(taken), numbers


def test_stacked_bars_are_as_long_as_their_numbers() -> None:
    shown, taken, numbers = parts(
        stacked_bars({"one": {"tree": 3, "a & b": 1}, "two": {"tree": 5}}, title="Units", x="units")
    )
    widths = [float(bar.get("width", 0)) for bar in shown.iter(f"{SVG}rect") if bar.find(f"{SVG}title") is not None]
    assert [width / widths[0] for width in widths] == pytest.approx([1, 1 / 3, 5 / 3], abs=0.01)
    assert [text.text for text in shown.iter(f"{SVG}text")][-2:] == ["tree", "a & b"]
    assert numbers == ",part,units\none,tree,3\none,a & b,1\ntwo,tree,5\n"
    assert taken.get("style", "").startswith("background:#fff")
    assert len(list(taken.iter())) == len(list(shown.iter()))


def test_bars_below_zero_end_at_zero() -> None:
    shown, _, numbers = parts(bars({"worse": -2.0, "better": 1.0}, title="Gain", x="%"))
    left, right = (
        (float(bar.get("x", 0)), float(bar.get("x", 0)) + float(bar.get("width", 0)))
        for bar in shown.iter(f"{SVG}rect")
    )
    assert left[1] == pytest.approx(right[0], abs=0.2)
    assert numbers == ",%\nworse,-2\nbetter,1\n"


def test_strips_mark_the_median_of_several() -> None:
    shown, _, numbers = parts(strips({"patch": [-1.0], "random": [1.0, 2.0, 9.0]}, title="Change", x="%"))
    dots = [float(dot.get("cx", 0)) for dot in shown.iter(f"{SVG}circle")]
    ticks = [path.get("d") for path in shown.iter(f"{SVG}path") if path.get("stroke-width") == "2"]
    assert ticks == [f"M{dots[2]:.1f} 40.0V58.0"]
    assert numbers.splitlines()[1:] == ["patch,-1", "random,1", "random,2", "random,9"]


def test_a_histogram_counts_every_value() -> None:
    _, _, numbers = parts(histogram({"one": [0, 0.05, 1.0], "two": [0.5]}, title="IoU", x="IoU", y="units", at=0.05))
    counts = [row.split(",") for row in numbers.splitlines()[1:]]
    assert [sum(int(count) for name, _, count in counts if name == wanted) for wanted in ("one", "two")] == [3, 1]
    assert [(low, count) for name, low, count in counts if name == "one" and count != "0"] == [
        ("0", "1"),
        ("0.05", "1"),
        ("0.95", "1"),
    ]


def test_curves_have_colours_of_their_own() -> None:
    lines = {"alpha": [(2.0, 0.1), (4.0, 0.5)], "random 1": [(2.0, -0.1)]}
    shown, _, numbers = parts(curves(lines, title="Removal", x="units", y="share", colours={"alpha": "#e69f00"}))
    colours = [line.get("stroke") for line in shown.iter(f"{SVG}polyline")]
    assert colours[0] == "#e69f00" != colours[1]
    assert numbers == ",units,share\nalpha,2,0.1\nalpha,4,0.5\nrandom 1,2,-0.1\n"
    assert curves({}, title="none", x="x", y="y") == ""


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_a_report_can_be_read_by_everybody(browser: Browser, tmp_path: Path, scheme: str, width: int) -> None:
    """axe-core finds no fault, and no page scrolls sideways."""
    wide = [["measure", *(f"column {n}" for n in range(12))], ["one", *["0.1234"] * 12]]
    shown = [
        paragraph("Conclude this.", "lead"),
        paragraph("Remark.", "faint"),
        bars({"before": 2.0, "after": 1.0}, title="Score", x="score"),
        strips({"patch": [-1.0], "random units": [1.0, 2.0]}, title="Change", x="%"),
        histogram({"layer4": [0.1, 0.4]}, title="IoU", x="IoU", y="units"),
        table(wide[0], wide[1:]),
    ]
    write_report(tmp_path / "page.html", "Report", shown)
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
    page.goto((tmp_path / "page.html").as_uri())
    found = Axe().run(page).response["violations"]
    assert [(one["id"], node["html"]) for one in found for node in one["nodes"]] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()
