"""The documentation site: it builds without a warning, its links lead somewhere, and it asks no other host."""

import functools
import html
import json
import re
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlparse

import nbformat
import pytest
from playwright.sync_api import Browser, expect

from tests.support.shared import ROOT, once

BUILD = ROOT / "tools" / "documentation" / "make_site.py"
VOID = ("script", "img", "iframe", "source", "audio", "video", "embed", "link")  # tags that fetch by themselves


@dataclass
class Parsed(HTMLParser):
    """What a page links to, what it fetches by itself, and which places in it can be linked to."""

    links: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    places: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.places.add(given.get("id") or "")
        for name in ("href", "src"):
            if target := given.get(name):
                (self.links if tag == "a" else self.fetched).append(target)
        assert "srcset" not in given
        assert tag != "iframe"


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(tmp_path_factory, "site", build) / "html"


def build(place: Path) -> None:
    done = subprocess.run([sys.executable, BUILD, "--out", place / "html"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@functools.cache
def parsed(page: Path) -> Parsed:
    found = Parsed()
    found.feed(page.read_text())
    return found


def test_every_link_leads_to_a_place_that_is_there(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 60
    for page in pages:
        for target in [*parsed(page).links, *parsed(page).fetched]:
            address, place = urldefrag(target)
            if urlparse(address).scheme in ("http", "https", "data", "mailto"):
                continue
            file = (page.parent / unquote(address.partition("?")[0])).resolve() if address else page
            file = file / "index.html" if file.is_dir() else file
            assert file.is_file(), f"{page.relative_to(site)}: {target}"
            if place and file.suffix == ".html":
                assert unquote(place) in parsed(file).places, f"{page.relative_to(site)}: {target}"


def test_nothing_is_fetched_from_another_host(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert [one for one in parsed(page).fetched if re.match(r"(https?:)?//", one)] == [], page
    for style in site.rglob("*.css"):
        assert re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)\"']*", style.read_text()) == [], style


def test_every_page_of_the_repository_is_in_it(site: Path) -> None:
    pages = [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("patches/*.md"),
        *ROOT.glob("ganpatch/**/CARD.md"),
    ]
    for page in set(pages) - {ROOT / "README.md"}:
        assert (site / page.relative_to(ROOT)).with_suffix(".html").is_file(), page


def test_the_notebook_shows_what_it_gave(site: Path) -> None:
    notebook = nbformat.read(ROOT / "docs" / "notebooks" / "first-repair.ipynb", as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells), "results stay out of git"
    text = (site / "docs" / "notebooks" / "first-repair.html").read_text()
    assert text.count("data:image/png;base64,") == 4
    assert "192 images, top 12 by max" in text
    assert "interpretable units" in text
    assert "outcome='folded'" in html.unescape(text)


def test_it_reads_well_in_a_browser_without_a_network(site: Path, browser: Browser) -> None:
    asked, faults = list[str](), list[str]()
    for width, scheme in ((1280, "light"), (390, "dark")):
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda fault: faults.append(str(fault)))
        for name in (
            "index",
            "methods/evaluation",
            "patch-format",
            "families",
            "cli/evaluate",
            "tutorial",
            "api",
            "targets",
        ):
            page.goto(f"file://{site}/docs/{name}.html")
            assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} is wider than {width}"
        page.goto(f"file://{site}/docs/methods/equation.html")
        page.evaluate("document.fonts.ready")
        assert page.evaluate("document.fonts.check('16px Formulas')"), "formulas have no font made for them"
        box = page.locator(".formula math").first.bounding_box()
        assert box is not None
        assert box["width"] > 200
        context.close()
    assert faults == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def test_it_can_be_searched_without_a_network(site: Path, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(f"file://{site}/index.html")
    page.get_by_placeholder("Search").fill("typicality")
    page.keyboard.press("Enter")
    expect(page.locator("ul.search li a").first).to_be_visible(timeout=60_000)
    assert any("scores" in (link.get_attribute("href") or "") for link in page.locator("ul.search li a").all())
    page.close()


def test_what_is_missing_fails_the_build(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "docs").mkdir(parents=True)
    page = "# One\n\n[two](two.md) [three](#three) ![four](four.png) $\\five$\n"
    (source / "docs" / "index.md").write_text(page)
    command = [sys.executable, BUILD, "--source", source, "--out", tmp_path / "html"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    for said in ("'two.md'", "'three'", "four.png", "\\five"):
        assert said in done.stderr
    (source / "docs" / "index.md").write_text("# One\n")
    (source / "docs" / "stray.ipynb").write_text(json.dumps(failing()))
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    assert "ZeroDivisionError" in done.stderr


def failing() -> dict[str, object]:
    """A notebook whose only cell fails."""
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "outputs": [], "execution_count": None, "source": "1 / 0"}
    return {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
