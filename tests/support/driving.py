"""The studio as a process, and what a hand does in its page."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect

from ganpatch import Patch

GANPATCH = str(Path(sys.executable).parent / "ganpatch")
expect.set_options(timeout=90_000)  # the machines that test are busy
UNAVOIDABLE = (  # what the browser says of a server that is killed, before, in or after an answer; and of conflicts
    "ERR_CONNECTION_REFUSED",
    "ERR_CONNECTION_RESET",
    "ERR_CONTENT_LENGTH_MISMATCH",
    "ERR_EMPTY_RESPONSE",
    "ERR_INCOMPLETE_CHUNKED_ENCODING",
    "409 (Conflict)",
    "ERR_INTERNET_DISCONNECTED",
)


def avoidable(faults: list[str]) -> list[str]:
    """Return the faults in a page's console that are not the work of a server that a test stops."""
    return [fault for fault in faults if not any(known in fault for known in UNAVOIDABLE)]


class Served:
    """`ganpatch studio` as a process."""

    def __init__(self, *arguments: str | Path) -> None:
        self.command = [GANPATCH, "studio", *map(str, arguments)]
        self.start()

    def start(self) -> None:
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        assert self.address.startswith("http://127.0.0.1:")

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


def own(url: str, address: str) -> bool:
    return url.startswith((address.split("?")[0], "data:", "blob:"))


def patch_in(session: Path, wanted: Callable[[list[tuple[str, tuple[int, ...], str]]], bool]) -> Patch | None:
    """Wait until the patch file has the expected content, and return it."""
    path = session / "patch.yaml"
    deadline = time.monotonic() + 120
    found: list[tuple[str, tuple[int, ...], str]] = []
    while time.monotonic() < deadline:
        patch = Patch.load(path) if path.exists() else None
        found = [(edit.layer, edit.units, edit.reason) for edit in patch.edits] if patch else []
        if wanted(found):
            return patch
        time.sleep(0.05)
    raise AssertionError(f"the patch has {found}")


def flagged(session: Path, units: tuple[int, ...], reason: str = "") -> Patch | None:
    return patch_in(session, lambda found: found == ([("layer4", units, reason)] if units else []))


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert is_so()


def until(page: Page, is_so: Callable[[], bool]) -> None:
    """Wait for the browser's events: they arrive only while the page is asked something."""
    wait_until(lambda: (page.wait_for_timeout(20), is_so())[1])


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def drag(page: Page, *places: tuple[float, float]) -> None:
    """Paint a stroke through places given as shares of the image."""
    canvas = page.locator("canvas.over")
    box, before = canvas.bounding_box(), None
    while box != before:  # until the page around it is at rest
        page.wait_for_timeout(100)
        box, before = canvas.bounding_box(), box
    assert box is not None
    for index, (x, y) in enumerate(places):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4)
        if index == 0:
            page.mouse.down()
    page.mouse.up()


def compared(page: Page) -> None:
    """Wait until Compare has drawn all its pairs, of which a slow machine shows fewer."""
    expect(page.locator("#compare [role=status]")).to_have_text(
        re.compile(r"^\d+ of \d+ change(?!.*drawn)"), timeout=240_000
    )
    assert page.locator(".pairing").count() > 1


def tab_to(page: Page, selector: str) -> None:
    for _ in range(120):
        if page.evaluate("wanted => document.activeElement?.matches(wanted)", selector):
            return
        press(page, "Tab")
    raise AssertionError(f"{selector} is not reached")


def image_of(page: Page, selector: str) -> list[int]:
    pixels: list[int] = page.locator(selector).evaluate(
        "c => Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data)"
    )
    return pixels
