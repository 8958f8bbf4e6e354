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
import onnxruntime
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Request, Route, expect

import ganpatch
from ganpatch import Generator, Patch, applied, rank

GANPATCH = str(Path(sys.executable).parent / "ganpatch")
expect.set_options(timeout=20_000)  # the machines that test are busy
UNAVOIDABLE = (  # what the browser says of a server that is killed, before, in or after an answer; and of conflicts
    "ERR_CONNECTION_REFUSED",
    "ERR_CONNECTION_RESET",
    "ERR_CONTENT_LENGTH_MISMATCH",
    "ERR_EMPTY_RESPONSE",
    "ERR_INCOMPLETE_CHUNKED_ENCODING",
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
    expect(page.locator("#brush-panel")).to_contain_text("1 stroke on 1 image")


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
    page = opened(f"{served.address}#view=compare&page=2")
    expect(page.locator(".pairing")).to_have_count(32, timeout=60_000)
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


def test_edits_off_what_they_become_and_what_is_downloaded(
    served: Served, session: Path, tmp_path: Path, opened: Callable[..., Page], churches: Generator
) -> None:
    """Weights and ONNX as the page gives them draw what the patch as hooks draws."""
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
    got = {}
    for name, suffix in (("Patch", "yaml"), ("Weights", "safetensors"), ("ONNX", "onnx")):
        with page.expect_download(timeout=90_000) as download:
            page.locator("#patch-panel").get_by_role("button", name=name, exact=True).click()
        got[name] = tmp_path / f"got.{suffix}"
        download.value.save_as(got[name])
        assert download.value.suggested_filename.endswith(suffix)
    patch = Patch.load(got["Patch"])
    assert patch.edits[0].reason == "cage"
    (args, _), plain = churches.inputs(range(3)), churches.sample(range(3))
    with applied(churches.module, patch):
        wanted = churches.sample(range(3))
    assert not torch.allclose(plain, wanted, atol=1e-2)
    assert torch.allclose(ganpatch.load(got["Weights"]).sample(range(3)), wanted, atol=1e-4)
    graph = onnxruntime.InferenceSession(got["ONNX"])
    (output,) = graph.run(None, {entry.name: arg.numpy() for entry, arg in zip(graph.get_inputs(), args, strict=True)})
    assert torch.allclose(churches.images(torch.from_numpy(output)), wanted, atol=1e-3)


def test_the_quality_of_the_patch_is_measured_cancelled_and_old_after_a_change(
    served: Served, session: Path, opened: Callable[..., Page]
) -> None:
    page = opened(served.address)
    page.locator(".row").first.wait_for()
    press(page, "f")
    flagged(session, (0,))
    quality = page.locator(".quality")
    expect(quality).to_contain_text("Not measured yet")
    quality.get_by_label("features").select_option("plain")
    quality.get_by_role("button", name="Measure").click()
    page.get_by_role("button", name="cancel quality by plain over 500 images").click()
    expect(page.locator("#jobs p")).to_have_count(0)
    quality.get_by_label("images", exact=True).select_option("100")
    quality.get_by_role("button", name="Measure").click()
    expect(quality.locator(".verdict")).to_contain_text("Fréchet distance (plain)", timeout=90_000)
    expect(quality).to_contain_text("Of the patch as it stands: 100 images against 100 held-out scenes")
    assert quality.locator(".track u").count() == 20, "five draws of random units beside each of four bars"
    with page.context.expect_page() as report:
        quality.get_by_role("link", name="report").click()
    expect(report.value.locator("h1")).to_have_text("churches-studio: better?")
    press(page, "j", "f")
    expect(quality.locator(".old")).to_contain_text("Old: of an earlier version of the patch (1 edit, 1 unit)")
    page.reload()
    expect(quality.locator(".old .verdict")).to_be_visible()
    press(page, "u")
    expect(quality).to_contain_text("Of the patch as it stands")


def test_order_conflicts_and_earlier_versions(served: Served, session: Path, opened: Callable[..., Page]) -> None:
    page = opened(f"{served.address}#view=paint&seed=11&brush=unit:layer4:5")
    expect(page.locator("#paint .image")).to_have_attribute("data-drawn", re.compile(r"\d"))
    drag(page, (0.3, 0.6), (0.5, 0.7))
    patch_in(session, lambda found: len(found) == 1)
    page.goto(f"{served.address}#unit=5")
    page.locator(".row").first.wait_for()
    press(page, "f")
    patch_in(session, lambda found: len(found) == 2)
    expect(page.locator(".conflict")).to_contain_text("Unit 5 of layer4 is in “remove unit 5, painted” and “layer4-1”")
    expect(page.locator(".edit.clash")).to_have_count(2)
    ids = [one.id for one in Patch.load(session / "patch.yaml").edits]

    def order(wanted: list[str]) -> None:
        wait_until(lambda: [one.id for one in Patch.load(session / "patch.yaml").edits] == wanted)
        expect(page.locator(".edit").first).to_have_attribute("data-edit", wanted[0])

    page.locator(".edit .handle").first.focus()
    press(page, "ArrowDown")
    order(ids[::-1])
    expect(page.locator(f"[data-focus='place-{ids[0]}']")).to_be_focused()
    own, target = (page.locator(".edit").nth(place).bounding_box() for place in (1, 0))
    assert own is not None
    assert target is not None
    page.locator(".edit .handle").nth(1).hover()
    page.mouse.down()
    page.mouse.move(target["x"] + 20, target["y"] - 4, steps=5)
    page.mouse.up()
    order(ids)
    page.locator(".versions summary").click()
    page.locator(".version").first.wait_for()
    said = page.locator(".version .what").all_inner_texts()
    assert [" moved to place " in text for text in said[:3]] == [True, True, False]
    assert said[2] == "unit 5 of layer4 flagged"
    with page.expect_download() as download:
        page.get_by_role("button", name=re.compile("download the patch of version")).nth(2).click()
    assert download.value.suggested_filename == "churches-studio.zip"
    page.get_by_role("button", name=re.compile(r"go back to version \d+: .*moved to place")).first.click()
    order(ids[::-1])
    page.locator("#undo").click()
    order(ids)


def test_labels_of_two_concepts_can_be_sought(served: Served, session: Path, opened: Callable[..., Page]) -> None:
    page = opened(f"{served.address}#view=paint&seed=4")
    page.get_by_role("button", name="Label").click()
    find = page.get_by_role("button", name="Find units of layer4")
    expect(find).to_be_disabled()
    for concept, y in (("sky", 0.2), ("ground", 0.9)):
        page.get_by_label("concept", exact=True).fill(concept)
        drag(page, (0.2, y), (0.8, y))
    expect(find).to_be_enabled()
    with page.expect_request("**/api/jobs") as asked:
        page.route("**/api/jobs", lambda route: route.fulfill(status=409, json={"detail": "not now"}))
        find.click()
    assert asked.value.post_data_json == {"kind": "learn", "layer": "layer4", "n": 400}
    expect(page.locator("#saved")).to_have_text("Not done: not now")


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


def until(page: Page, is_so: Callable[[], bool]) -> None:
    """Wait for what the browser tells: it is heard only while the page is asked something."""
    wait_until(lambda: (page.wait_for_timeout(20), is_so())[1])


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
    expect(page.locator("#explained")).to_have_text("how much it hums")
    expect(page.locator(".row").nth(1).locator("em")).to_have_text("2. suggested: humming")
    page.select_option("#sort", "spike")
    expect(page.locator("#explained")).to_have_text("how far the peak stands out of what the unit usually reaches")
    names = page.locator("#sort option").evaluate_all("all => all.map(one => one.value)")
    assert names[:3] == ["by:suggested: humming", "unit", "peak"]


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
    patch_in(session, lambda found: [units for _, units, _ in found] == [(1,), (1,)])
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
    expect(page.locator(".pairing")).to_have_count(32, timeout=60_000)


def tab_to(page: Page, selector: str) -> None:
    for _ in range(120):
        if page.evaluate("wanted => document.activeElement?.matches(wanted)", selector):
            return
        press(page, "Tab")
    raise AssertionError(f"{selector} is not reached")


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
