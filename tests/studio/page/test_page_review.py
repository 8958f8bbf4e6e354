"""Review in the browser: flags, one unit live, sorts."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, Request, Route, expect

from ganpatch import Patch
from tests.support.driving import Served, flagged, image_of, patch_in, press, until, wait_until


def test_review_ends_in_yaml_and_undo_takes_it_back(served: Served, session: Path, opened: Callable[..., Page]) -> None:
    page = opened(served.address)
    page.locator(".row").first.wait_for()
    press(page, "j", "f", "j", "j", "f", "r")
    page.keyboard.type("smeared sky")
    press(page, "Enter")
    patch_in(session, lambda found: found == [("layer4", (1,), ""), ("layer4", (3,), "smeared sky")])
    expect(page.locator("#saved")).to_have_text("Saved")
    expect(page.locator(".row.flagged")).to_have_count(2)
    press(page, "u", "u")
    flagged(session, (1,))
    page.keyboard.press("Shift+U")
    flagged(session, (1, 3))
    page.reload()
    expect(page.locator(".row.flagged")).to_have_count(2)
    page.select_option("#sort", "flagged")
    assert page.locator(".row").first.get_attribute("data-unit") == "1"
    page.fill("#filter", "5, 9-11")
    expect(page.locator(".row")).to_have_count(4)


def test_a_unit_is_tuned_live(served: Served, session: Path, opened: Callable[..., Page]) -> None:
    page = opened(f"{served.address}#unit=7")
    expect(page.get_by_label("number of the unit").first).to_have_value("7")
    expect(page.locator("#unit-ms")).to_contain_text("ms")
    before, after = (image_of(page, f".pair canvas.{name} >> nth=0") for name in ("before", "after"))
    assert before != after
    page.locator("#unit-panel .flag").click()
    flagged(session, (7,))
    page.get_by_label("replaced").first.focus()
    press(page, "ArrowLeft", "ArrowLeft")
    patch_in(session, lambda found: len(found) == 1)
    wait_until(lambda: Patch.load(session / "patch.yaml").edits[0].alpha == (0.9,))
    expect(page.locator(".histogram i")).to_have_count(48)
    page.get_by_label("only where above").check()
    wait_until(lambda: Patch.load(session / "patch.yaml").edits[0].above is not None)
    assert page.locator(".histogram i.above").count() < 24
    box = page.locator(".histogram").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 10, steps=3)
    page.mouse.up()
    expect(page.locator(".histogram i.above")).to_have_count(24)
    levels = page.get_by_label("only above this activation").evaluate("one => [+one.min, +one.max]")
    wait_until(lambda: Patch.load(session / "patch.yaml").edits[0].above == pytest.approx((sum(levels) / 2,), abs=0.1))
    page.get_by_role("button", name="patch", exact=True).click()
    expect(page.locator("#unit-ms")).to_contain_text("with the whole patch")


def test_sorts_come_from_the_run_and_say_what_they_are(served: Served, opened: Callable[..., Page]) -> None:
    """Orders as the run's folder has them, whatever their method is called."""
    page = opened(served.address)

    def with_order(route: Route) -> None:
        found = route.fetch().json()
        scores = [{77: 2.0, 5: 1.0}.get(unit, 0.0) for unit in range(256)]
        found["orders"] = [{"name": "suggested: humming", "explains": "how much it hums", "scores": scores}]
        route.fulfill(json=found)

    page.route("**/api/ranking*", with_order)
    page.goto("about:blank")
    page.goto(served.address)
    expect(page.locator(".row").first).to_have_attribute("data-unit", "77")
    expect(page.locator(".row.here")).to_have_attribute("data-unit", "77")
    expect(page.locator("#explained")).to_have_text("suggested: humming: how much it hums")
    expect(page.locator(".row").nth(1).locator(".order")).to_have_text("2. suggested: humming")
    page.select_option("#sort", "spike")
    expect(page.locator("#explained")).to_have_text(
        "Sorted by peak over 99.9 % level: how far the peak exceeds the level that one pixel in a thousand exceeds."
    )
    names = page.locator("#sort option").evaluate_all("all => all.map(one => one.value)")
    assert names[:3] == ["by:suggested: humming", "unit", "peak"]


def test_what_is_waited_for_is_said_and_what_nobody_wants_is_ended(served: Served, opened: Callable[..., Page]) -> None:
    page = opened(served.address)
    page.locator(".row").first.wait_for()
    expect(page.locator("#unit-ms")).to_contain_text("ms")
    ended: list[Request] = []
    page.on("requestfailed", lambda sent: ended.append(sent))
    held: list[Route] = []
    page.route("**/api/images", lambda route: held.append(route))
    press(page, "j")
    until(page, lambda: len(held) >= 2)
    expect(page.locator("#waiting")).to_have_text(re.compile(r"^drawing images .*, images .* … \d+ s$"))
    press(page, "j")
    until(page, lambda: len(held) >= 4 and all(route.request in ended for route in held[:2]))
    for route in held[2:4]:
        route.continue_()
    page.unroute("**/api/images")
    expect(page.locator("#waiting")).to_have_text("")
    wait_until(lambda: any(image_of(page, ".pair canvas.before >> nth=0")))
