"""Keys of the list of units, tried on the review page and in the studio alike: they act on what is shown."""

from collections.abc import Callable
from dataclasses import dataclass

from playwright.sync_api import Page, expect

from tests.support.driving import press, until

IN_SIGHT = """() => {
    const here = document.querySelector('.row.here'), box = document.querySelector('#scroller').getBoundingClientRect();
    if (!here) return false;
    const own = here.getBoundingClientRect(), middle = (own.top + own.bottom) / 2;
    return middle >= box.top && middle <= box.bottom;
}"""


def filtered(page: Page) -> None:
    press(page, "/")
    page.keyboard.type("33-90")
    press(page, "Enter")


def sorted_by_peak(page: Page) -> None:
    page.select_option("#sort", "peak")
    page.evaluate("document.activeElement.blur()")


def scrolled(page: Page) -> None:
    box = page.locator("#scroller").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.wheel(0, 4000)
    until(page, lambda: bool(page.locator("#scroller").evaluate("box => box.scrollTop > 3000")))


def as_it_opens(page: Page) -> None:
    del page


LISTS = {"filtered": filtered, "sorted": sorted_by_peak, "scrolled": scrolled, "as it opens": as_it_opens}


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """A page with a list of units, and how to read which of them are flagged for what reason."""

    page: Page
    flags: Callable[[], dict[int, str]]

    def here(self) -> int:
        """Return the unit that is selected, which must be in sight."""
        until(self.page, lambda: bool(self.page.evaluate(IN_SIGHT)))
        return int(self.page.locator(".row.here").get_attribute("data-unit") or -1)

    def place(self) -> int:
        return int(self.page.locator(".row.here").get_attribute("aria-posinset") or -1)

    def flagged(self, wanted: dict[int, str]) -> None:
        try:
            until(self.page, lambda: self.flags() == wanted)
        except AssertionError:
            said = self.page.locator("#saved").inner_text()
            raise AssertionError(f"flagged are {self.flags()}, not {wanted}; the page says: {said}") from None


def keys_act_on_what_is_shown(review: Review) -> None:
    page = review.page
    press(page, "f")
    unit = review.here()
    review.flagged({unit: ""})
    press(page, "f")
    review.flagged({})
    assert review.here() == unit
    press(page, " ", "u")
    review.flagged({})
    moves_stay_in_sight(review)
    marks_and_ranges(review)
    reason_goes_into_its_field(review)


def moves_stay_in_sight(review: Review) -> None:
    page = review.page
    for key, step in (("j", 1), ("ArrowDown", 1), ("k", -1), ("ArrowUp", -1)):
        review.here()
        place = review.place()
        press(page, key)
        review.here()
        assert review.place() == place + step, key
    for key in ("PageDown", "PageUp", "End", "Home", "e", "v", "ArrowRight", "ArrowDown", "v", "+", "-", "h", "h", "h"):
        press(page, key)
        review.here()


def marks_and_ranges(review: Review) -> None:
    page = review.page
    unit = review.here()
    press(page, "g")
    expect(page.locator(f".row.here.fine:not(.flagged)[data-unit='{unit}']")).to_have_count(1)  # classes in any order
    press(page, "g", "J", "J", "f")
    until(page, lambda: len(review.flags()) == 3)
    chosen = page.locator(".row.chosen").evaluate_all("rows => rows.map(row => +row.dataset.unit)")
    assert set(review.flags()) == set(chosen)
    press(page, "f")
    review.flagged({})
    assert unit in chosen


def reason_goes_into_its_field(review: Review) -> None:
    page = review.page
    press(page, "End", "r")
    page.keyboard.type("fug")
    press(page, "Enter")
    review.flagged({review.here(): "fug"})
    press(page, "f")
    review.flagged({})


def typed_text_is_no_command(review: Review) -> None:
    page = review.page
    press(page, "f")
    first = review.here()
    review.flagged({first: ""})
    press(page, "/")
    page.keyboard.type("none fgu 9999")
    press(page, "Enter")
    expect(page.locator(".row")).to_have_count(0)
    for word in ("fug", "rough roof"):
        press(page, "r")
        page.keyboard.type(word)
        press(page, "Enter")
    page.wait_for_timeout(300)  # an undo would be made meanwhile
    review.flagged({first: ""})
    press(page, "/")
    page.keyboard.type("all")
    press(page, "Enter", "f")
    review.flagged({})
    press(page, "r")
    unit = review.here()
    page.keyboard.type("rough ")
    scrolled(page)  # the field is out of sight, and keeps the keys: the browser brings it back
    page.wait_for_timeout(300)
    page.keyboard.type("figure")
    press(page, "Enter")
    review.flagged({unit: "rough figure"})
    press(page, "f")
    review.flagged({})
    assert review.here() == unit
