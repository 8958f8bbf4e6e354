"""The studio in a browser, driven as a person would: the real server, the real churches, the real faces."""

import json
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

import ganpatch
from ganpatch import Patch, rank

GANPATCH = str(Path(sys.executable).parent / "ganpatch")
expect.set_options(timeout=20_000)  # the machines that test are busy
UNAVOIDABLE = (
    "ERR_CONNECTION_REFUSED",
    "ERR_CONNECTION_RESET",
    "ERR_EMPTY_RESPONSE",
    "409 (Conflict)",
    "ERR_INTERNET_DISCONNECTED",
)


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


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studio") / "run"
    rank(ganpatch.load("churches"), ["layer4"], range(48), k=8).save(folder)
    return folder


@pytest.fixture(scope="module")
def studio(run: Path) -> Iterator[Served]:
    server = Served("churches", run, "-o", run.parent / "s")
    yield server
    server.process.poll() is None and server.kill()  # type: ignore[func-returns-value]


@pytest.fixture
def served(studio: Served) -> Served:
    """The server of this module, its session emptied."""
    if studio.process.poll() is not None:
        studio.start()
    address, token = studio.address.split("/?token=")
    with httpx2.Client(base_url=address, headers={"x-ganpatch-token": token}) as client:
        session = client.get("/api/session").json()
        wishes = [
            {"kind": "remove", "edit": one["edit"]["id"], "rev": one["rev"]} for one in session["content"]["edits"]
        ]
        wishes += [{"kind": "unlabel", "label": one["id"]} for one in session["content"]["labels"]]
        wishes += [{"kind": "pin", "point": point, "on": False} for point in session["pins"]]
        for wish in wishes:
            client.post("/api/changes", json={"id": secrets.token_hex(8), **wish}).raise_for_status()
    return studio


@pytest.fixture
def session(run: Path) -> Path:
    """The folder of the session."""
    return run.parent / "s"


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open pages that fail the test on an error in the console or a request to another host."""
    contexts: list[BrowserContext] = []
    faults: list[str] = []

    def open_page(address: str, **options: object) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1300, "height": 800}, **options})  # type: ignore[arg-type]
        contexts.append(context)
        return add_page(context, address)

    def add_page(context: BrowserContext, address: str) -> Page:
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda fault: faults.append(str(fault)))
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.on("request", lambda sent: None if own(sent.url, address) else faults.append(f"asked {sent.url}"))
        page.goto(address)
        page.locator("#saved, #lost").first.wait_for(state="attached")
        return page

    open_page.add = add_page  # type: ignore[attr-defined]
    yield open_page
    for context in contexts:
        context.close()
    assert [fault for fault in faults if not any(known in fault for known in UNAVOIDABLE)] == []


def own(url: str, address: str) -> bool:
    return url.startswith((address.split("?")[0], "data:", "blob:"))


def patch_in(session: Path, wanted: Callable[[list[tuple[str, tuple[int, ...], str]]], bool]) -> Patch | None:
    """Wait until the patch file holds what is wanted, and give it."""
    path = session / "patch.yaml"
    deadline = time.monotonic() + 30
    found: list[tuple[str, tuple[int, ...], str]] = []
    while time.monotonic() < deadline:
        patch = Patch.load(path) if path.exists() else None
        found = [(edit.layer, edit.units, edit.reason) for edit in patch.edits] if patch else []
        if wanted(found):
            return patch
        time.sleep(0.05)
    raise AssertionError(f"the patch holds {found}")


def flagged(session: Path, units: tuple[int, ...], reason: str = "") -> Patch | None:
    return patch_in(session, lambda found: found == ([("layer4", units, reason)] if units else []))


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert is_so()


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def drag(page: Page, *places: tuple[float, float]) -> None:
    """Paint a stroke through places given as shares of the image."""
    box = page.locator("canvas.over").bounding_box()
    assert box is not None
    for index, (x, y) in enumerate(places):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4)
        if index == 0:
            page.mouse.down()
    page.mouse.up()


def image_of(page: Page, selector: str) -> list[int]:
    pixels: list[int] = page.locator(selector).evaluate(
        "c => Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data)"
    )
    return pixels


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
    expect(page.locator(".histogram i")).to_have_count(48, timeout=20_000)
    page.get_by_label("only where above").check()
    wait_until(lambda: Patch.load(session / "patch.yaml").edits[0].above is not None)
    assert page.locator(".histogram i.above").count() < 24


def test_painting_ends_in_yaml(served: Served, session: Path, opened: Callable[..., Page]) -> None:
    page = opened(f"{served.address}#view=paint&seed=11&brush=unit:layer4:5")
    expect(page.locator("#paint .image")).to_have_attribute("data-drawn", re.compile(r"\d"))
    plain = image_of(page, "#paint .image")
    drag(page, (0.3, 0.6), (0.5, 0.7), (0.7, 0.6))
    patch = patch_in(session, lambda found: [units for _, units, _ in found] == [(5,)])
    assert patch is not None
    mask = patch.edits[0].mask
    assert mask is not None
    assert 0 < mask.values.sum() < 40
    assert mask.values[5, 4] > 0.5
    assert mask.values[0].sum() == 0
    expect(page.locator("#saved")).to_have_text("Saved")
    wait_until(lambda: image_of(page, "#paint .image") != plain)
    drag(page, (0.1, 0.1), (0.2, 0.1))
    wider = patch_in(session, lambda found: Patch.load(session / "patch.yaml").edits[0].mask != mask)
    assert wider is not None
    assert len(wider.edits) == 1
    page.locator("#undo").click()
    patch_in(session, lambda found: Patch.load(session / "patch.yaml").edits[0].mask.sha256 == mask.sha256)  # type: ignore[union-attr]
    page.reload()
    expect(page.locator(".edit .summary")).to_contain_text("painted on seed 11")
    page.locator("canvas.over").focus()
    press(page, "ArrowUp", "Space")
    patch_in(session, lambda found: len(found) == 2)


def test_strokes_name_a_concept(served: Served, session: Path, opened: Callable[..., Page]) -> None:
    page = opened(f"{served.address}#view=paint&seed=4")
    page.get_by_role("button", name="Label").click()
    page.get_by_label("concept").fill("tree")
    drag(page, (0.2, 0.5), (0.2, 0.8))
    path = session / "strokes.json"
    wait_until(path.exists)
    (image,) = json.loads(path.read_text())["images"]
    assert (image["seed"], image["size"], image["strokes"][0]["concept"]) == (4, [64, 64], "tree")
    first = image["strokes"][0]["points"][0]
    assert first == pytest.approx([12.8, 32], abs=0.5)
    expect(page.locator("#brush-panel")).to_contain_text("1 strokes on 1 images")


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
    # both change the same edit: the one that comes second is told, and shows what there is
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
    served.start()  # the same port and token: the open page goes on by itself
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
    page = opened(f"{served.address}#view=look&seed=3&to=9&t=0.5&unit=12")
    expect(page.locator("#look .tile")).to_have_count(24)
    page.wait_for_timeout(200)
    half = image_of(page, "#look .stage canvas.image")
    press(page, "p")
    expect(page.locator("#tray figcaption")).to_have_text("3→9")
    page.locator("#look .stage").click(position={"x": 30, "y": 30})
    expect(page.locator("#look h2")).to_contain_text("active here")
    other = opened(page.url)
    expect(other.locator("#look .tile")).to_have_count(24)
    expect(other.get_by_label("number of the unit").first).to_have_value("12")
    other.wait_for_timeout(200)
    assert image_of(other, "#look .stage canvas.image") == half


def test_edits_off_and_what_they_become(
    served: Served, session: Path, tmp_path: Path, opened: Callable[..., Page]
) -> None:
    page = opened(served.address)
    page.locator(".row").first.wait_for()
    press(page, "f", "j", "f", "r")
    page.keyboard.type("cage")
    press(page, "Enter")
    patch_in(session, lambda found: len(found) == 2)
    page.get_by_role("button", name="Fold or insert?").click()
    expect(page.locator(".decision.folded")).to_have_count(2, timeout=90_000)
    page.locator(".edit input[type=checkbox]").first.click()
    flagged(session, (1,), "cage")
    with page.expect_download() as download:
        page.get_by_role("button", name="Patch", exact=True).last.click()
    download.value.save_as(tmp_path / "got.yaml")
    assert Patch.load(tmp_path / "got.yaml").edits[0].reason == "cage"
    press(page, "4")
    expect(page.locator(".pairing")).to_have_count(32, timeout=90_000)
    expect(page.locator("#compare .bar")).to_contain_text(re.compile(r"\d+ of 32 change"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_does_not_scroll_sideways(served: Served, opened: Callable[..., Page], scheme: str) -> None:
    page = opened(served.address, viewport={"width": 360, "height": 740}, color_scheme=scheme)
    page.locator(".row").first.wait_for()
    for view in ("review", "paint", "look", "compare"):
        page.locator(f"[data-view={view}]").click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, view
    page.locator("#panel").click()
    expect(page.locator("#patch-panel")).to_be_visible()


def test_the_face_dcgan(faces: Path, tmp_path: Path, opened: Callable[..., Page]) -> None:
    """A model of another family, nothing ranked: it is ranked while one paints."""
    session = tmp_path / "s"
    server = Served(faces, "-o", session, "--n", "40")
    try:
        page = opened(f"{server.address}#view=paint&seed=5&brush=unit:main.5:11")
        expect(page.locator("#paint .image")).to_have_attribute("data-drawn", re.compile(r"\d"))
        drag(page, (0.4, 0.3), (0.6, 0.3))
        patch_in(session, lambda found: [units for _, units, _ in found] == [(11,)])
        press(page, "1")
        page.locator(".row").first.wait_for(timeout=90_000)
        press(page, "f")
        patch_in(session, lambda found: len(found) == 2)
    finally:
        server.kill()
