"""Every key of the studio's list of units against a list that is filtered, sorted and scrolled."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from tests.support.driving import Served, press
from tests.support.review_keys import LISTS, Review, keys_act_on_what_is_shown, typed_text_is_no_command

SESSION = """async () => {
    const headers = { 'x-ganpatch-token': new URLSearchParams(location.search).get('token') };
    const { content } = await (await fetch('api/session', { headers })).json();
    return content.edits.flatMap(({ edit }) => edit.units.map((unit) => [unit, edit.reason]));
}"""


@pytest.fixture
def review(served: Served, opened: Callable[..., Page]) -> Review:
    page = opened(served.address)
    page.locator(".row").first.wait_for()
    return Review(page=page, flags=lambda: dict(page.evaluate(SESSION)))


@pytest.mark.parametrize("name", LISTS)
def test_keys_act_on_what_is_shown(review: Review, name: str) -> None:
    LISTS[name](review.page)
    keys_act_on_what_is_shown(review)


def test_typed_text_is_no_command(review: Review) -> None:
    typed_text_is_no_command(review)


def test_text_in_the_panel_is_no_command_and_is_not_lost(review: Review) -> None:
    page = review.page
    press(page, "f")
    review.flagged({0: ""})
    page.locator("#patch-name").fill("fur")
    page.keyboard.type("gif")
    page.wait_for_timeout(2000)  # the panel is drawn again meanwhile, whatever arrives
    page.keyboard.type("u")
    assert page.locator("#patch-name").input_value() == "furgifu"
    review.flagged({0: ""})
