"""Every key of the review page against a list that is filtered, sorted and scrolled; grid, folds, and what flags share."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from torch import nn

import ganpatch
from ganpatch import rank
from ganpatch.review.page import write_page
from tests.support.driving import press
from tests.support.review_keys import LISTS, Review, keys_act_on_what_is_shown, typed_text_is_no_command


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 512 units, of which 0 and the last nine show the same images."""
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    first, last = nn.ConvTranspose2d(8, 512, 4), nn.ConvTranspose2d(512, 3, 4, 2, 1)
    with torch.no_grad():
        first.weight[:, 503:] = first.weight[:, :1]
        first.bias[503:] = first.bias[0]  # type: ignore[index]
    module = nn.Sequential(nn.Unflatten(1, (8, 1, 1)), first, nn.ReLU(), last)
    rank(ganpatch.load(module, latent="normal:8"), ["2"], range(400), k=6).save(folder)
    write_page(folder)
    return folder


@pytest.fixture
def review(browser: Browser, run: Path) -> Iterator[Review]:
    page = browser.new_page(viewport={"width": 1100, "height": 700})
    faults: list[str] = []
    page.on("pageerror", lambda fault: faults.append(str(fault)))
    page.goto(f"file://{run}/index.html")
    page.locator(".row").first.wait_for()
    yield Review(page=page, flags=lambda: stored_flags(page))
    page.close()
    assert faults == []


def stored_flags(page: Page) -> dict[int, str]:
    kept = page.evaluate("localStorage.getItem(`ganpatch:${window.ganpatchRun.run}`)")
    flags = json.loads(kept)["flags"] if kept else {}
    return {int(unit): reason for unit, reason in flags.get("2", {}).items()}


@pytest.mark.parametrize("name", LISTS)
def test_keys_act_on_what_is_shown(review: Review, name: str) -> None:
    LISTS[name](review.page)
    keys_act_on_what_is_shown(review)


def test_typed_text_is_no_command(review: Review) -> None:
    typed_text_is_no_command(review)


def test_what_was_scrolled_away_is_not_selected(review: Review) -> None:
    LISTS["scrolled"](review.page)
    review.page.keyboard.press("f")
    (unit,) = review.flags()
    assert unit > 10
    assert unit == review.here()


def test_seen_fine_and_flagged_units_are_counted_and_found(review: Review) -> None:
    page = review.page
    expect(page.locator("#seen-text")).not_to_have_text("0 seen")
    seen = int(page.locator("#seen-text").inner_text().split()[0])
    assert 2 <= seen <= 8
    press(page, "e")
    assert review.here() == seen
    press(page, "g", "j", "f")
    expect(page.locator("#counts")).to_have_text("1 of 512 units flagged · 1 fine")
    press(page, "/")
    page.keyboard.type("fine")
    press(page, "Enter")
    assert review.here() == seen
    expect(page.locator(".row")).to_have_count(1)
    page.reload()
    expect(page.locator("#counts")).to_have_text("1 of 512 units flagged · 1 fine · 1 shown")


def test_the_grid_shows_one_image_per_unit_and_a_click_flags(review: Review) -> None:
    page = review.page
    press(page, "v")
    assert page.locator(".row.tile").count() > 60
    page.locator(".tile[data-unit='5'] .shot").click()
    page.locator(".tile[data-unit='9'] .shot").click(modifiers=["Shift"])
    assert review.flags() == {5: ""}
    press(page, "f")
    assert set(review.flags()) == {5, 6, 7, 8, 9}


def test_rows_that_share_most_images_are_marked_and_folded(review: Review) -> None:
    page = review.page
    expect(page.locator(".row[data-unit='0'] .alike")).to_have_text("≈ 9")
    press(page, "o")
    folded = shown(page)
    assert folded <= 503
    page.locator(".row[data-unit='0'] .alike").click()
    assert shown(page) == folded + 9
    press(page, "End")
    assert review.here() == 511
    page.locator(".row.here .alike").click()
    assert shown(page) == folded


def shown(page: Page) -> int:
    return int(page.locator(".row").first.get_attribute("aria-setsize") or 0)


def test_what_flagged_units_share_is_summed_up(review: Review) -> None:
    page = review.page
    press(page, "f", "End", "f", "s")
    shared = page.locator("#shared")
    expect(shared.locator("h2")).to_have_text("2 flagged units")
    expect(shared).to_contain_text("6 images in the top images of several of them")
    expect(shared.locator("figure")).to_have_count(6)
    press(page, "Escape")
    expect(shared).to_be_hidden()


def test_figures_explain_themselves_to_pointer_and_keys(review: Review) -> None:
    page = review.page
    page.locator(".row.here .fact").first.hover()
    expect(page.locator("#tip")).to_have_text("Peak: the strongest activation of this unit in any image.")
    page.mouse.move(2, 2)
    expect(page.locator("#tip")).to_be_hidden()
    page.locator(".row.here .fact").nth(2).focus()
    expect(page.locator("#tip")).to_contain_text("Active: the share of all pixels")
    assert page.locator(".row.here .fact").nth(2).get_attribute("aria-describedby") == "tip"
    press(page, "Escape")
    expect(page.locator("#tip")).to_be_hidden()


def test_the_page_says_what_to_do_and_how_units_are_suggested(review: Review, run: Path) -> None:
    page = review.page
    expect(page.locator("#todo")).to_contain_text("Look along each row for a fault that its images share")
    expect(page.locator("#explained code")).to_have_text(f"ganpatch suggest {run}")
    press(page, "f", "j", "f", "j", "f")
    expect(page.locator("#todo")).to_be_hidden()
    page.reload()
    page.locator(".row").first.wait_for()
    expect(page.locator("#todo")).to_be_hidden()


def test_the_list_of_keys_is_that_of_the_page(review: Review) -> None:
    page = review.page
    press(page, "?")
    keys = page.locator("#keys")
    expect(keys.locator("h3")).to_have_text(["Review", "Everywhere"])
    expect(keys).to_contain_text("flag and type a reason")
    press(page, "f")
    assert review.flags() == {}
    press(page, "Escape")
    expect(keys).to_be_hidden()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_nothing_keeps_a_screen_reader_out(
    browser: Browser, run: Path, scheme: Literal["light", "dark"], width: int
) -> None:
    """axe-core finds no fault in rows, grid, what flags share, or keys."""
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.goto(f"file://{run}/index.html")
    page.locator(".row").first.wait_for()
    for keys in (("f", "j", "g", "j", "h"), ("v",), ("v", "End", "f", "s"), ("Escape", "?"), ("Escape", "Enter")):
        press(page, *keys)
        found = Axe().run(page).response["violations"]
        assert [(keys, one["id"], node["html"]) for one in found for node in one["nodes"]] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()
