"""For everybody: keys alone, screen readers, a phone."""

from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.support.driving import Served, compared, flagged, patch_in, press, tab_to


def test_a_whole_session_with_keys_alone(served: Served, session: Path, opened: Callable[..., Page]) -> None:
    page = opened(served.address)
    page.locator(".row").first.wait_for()
    press(page, "j", "f", "r")
    page.keyboard.type("smear")
    press(page, "Enter", "h", "n", "u", "Shift+U", "2")
    flagged(session, (1,), "smear")
    expect(page.locator(".brushes input:checked")).to_have_count(1)
    tab_to(page, "canvas.over")
    press(page, "ArrowLeft", "ArrowUp", "Space", "]", "Shift+ArrowRight")
    patch_in(session, lambda found: [reason for _, _, reason in found] == ["smear", "remove tree, painted"])
    press(page, "p", "3")
    expect(page.locator("#tray figure")).to_have_count(1)
    tab_to(page, "#look .stage")
    press(page, "ArrowDown")
    expect(page.locator("#look h2")).to_contain_text("active here")
    tab_to(page, ".tile")
    press(page, "Enter")
    tab_to(page, ".edit input[type=checkbox]")
    press(page, "Space")
    expect(page.locator(".edit.off")).to_have_count(1)
    press(page, "4", "?")
    expect(page.locator("#keys")).to_be_visible()
    press(page, "Escape")
    compared(page)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1300), ("dark", 360)])
def test_nothing_keeps_a_screen_reader_out(
    served: Served, session: Path, opened: Callable[..., Page], scheme: str, width: int
) -> None:
    """axe-core finds no fault in any view: names, roles, contrasts, what the keyboard reaches."""
    page = opened(served.address, viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.locator(".row").first.wait_for()
    press(page, "f", "j", "f", "h")
    flagged(session, (0, 1))
    for address in (
        "",
        "#layer=layer6",
        "#view=paint&seed=3",
        "#view=look&seed=3&to=9&t=0.4",
        "#view=compare&layer=layer4",
    ):
        page.evaluate("hash => { location.hash = hash }", address)
        page.wait_for_timeout(400)
        faults(page, address)
    if width < 700:
        page.locator("#panel").click()
    page.locator(".versions summary").click()
    page.get_by_label("numbers and units").first.click()
    faults(page, "the panel")
    page.locator("#help").click()
    faults(page, "keys")


def faults(page: Page, what: str) -> None:
    found = Axe().run(page).response["violations"]
    assert [(what, one["id"], node["html"]) for one in found for node in one["nodes"]] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_does_not_scroll_sideways(served: Served, opened: Callable[..., Page], scheme: str) -> None:
    page = opened(served.address, viewport={"width": 360, "height": 740}, color_scheme=scheme)
    page.locator(".row").first.wait_for()
    for view in ("review", "paint", "look", "compare"):
        page.locator(f"[data-view={view}]").click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, view
    page.locator("#panel").click()
    expect(page.locator("#patch-panel")).to_be_visible()
