"""A session in the browser: tabs, a server that dies, addresses that are shared."""

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.support.driving import Served, compared, flagged, image_of, press


def test_two_tabs_do_not_lose_each_others_edits(served: Served, session: Path, opened: Callable[..., Page]) -> None:
    one = opened(served.address)
    other = opened(served.address)
    for page in (one, other):
        page.locator(".row").first.wait_for()
    press(one, "j", "f")
    press(other, "j", "j", "f")
    flagged(session, (1, 2))
    for page in (one, other):
        expect(page.locator(".row.flagged")).to_have_count(2)
        expect(page.locator(".edit")).to_have_count(1)
    # both change the same edit: the second one sees a message, and shows the current state
    one.context.set_offline(True)
    one.locator(".edit [title=remove]").click()
    expect(one.locator("#lost")).to_be_visible()
    other.locator(".edit input[type=checkbox]").click()
    expect(other.locator(".edit.off")).to_have_count(1)
    one.context.set_offline(False)
    expect(one.locator("#saved")).to_contain_text("Not done: edit 'layer4-1' was changed in another tab")
    for page in (one, other):
        expect(page.locator(".edit.off")).to_have_count(1)


def test_a_dead_server_is_said_and_nothing_is_lost(served: Served, session: Path, opened: Callable[..., Page]) -> None:
    page = opened(served.address)
    page.locator(".row").first.wait_for()
    press(page, "f")
    flagged(session, (0,))
    expect(page.locator("#saved")).to_have_text("Saved")
    served.kill()
    press(page, "j", "f", "j", "f")
    expect(page.locator("#lost")).to_contain_text("The studio does not answer. 2 changes are kept here")
    expect(page.locator(".row.flagged")).to_have_count(3)
    flagged(session, (0,))
    served.start()  # the same port and token: the open page continues by itself
    flagged(session, (0, 1, 2))
    expect(page.locator("#lost")).to_be_hidden()
    expect(page.locator("#saved")).to_have_text("Saved")
    served.kill()
    press(page, "j", "f")
    expect(page.locator("#lost")).to_contain_text("1 change is kept here")
    page.close()
    served.start()
    opened.add(page.context, served.address)  # type: ignore[attr-defined]
    flagged(session, (0, 1, 2, 3))


def test_a_view_is_shared_by_its_address(served: Served, opened: Callable[..., Page]) -> None:
    page = opened(f"{served.address}#view=compare&page=2")
    compared(page)
    page = opened(f"{served.address}#view=look&seed=3&to=9&t=0.5&unit=12")
    expect(page.locator("#look .tile")).to_have_count(24)
    page.wait_for_timeout(200)
    half = image_of(page, "#look .stage canvas.image")
    expect(page.get_by_role("img", name="activation of unit 12 from seed 3 to 9")).to_be_visible()
    press(page, "p")
    expect(page.locator("#tray figcaption")).to_have_text("3→9")
    page.locator("#look .stage").click(position={"x": 30, "y": 30})
    expect(page.locator("#look h2")).to_contain_text("active here")
    other = opened(page.url)
    expect(other.locator("#look .tile")).to_have_count(24)
    expect(other.get_by_label("number of the unit").first).to_have_value("12")
    other.wait_for_timeout(200)
    assert image_of(other, "#look .stage canvas.image") == half
