"""The review page in a browser: from disk, and served."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Browser, Page, expect

from ganpatch import Generator, Patch, Ranking, rank
from ganpatch.finding.suggestions import Found, MethodFacts, Suggested, UnitSet, save_suggestions
from ganpatch.ranking.result import read_manifest
from ganpatch.review.flags import chosen_flags
from ganpatch.review.page import write_page
from ganpatch.review.verdicts import patch_from_flags, read_verdicts
from tests.support.driving import avoidable


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that fails the test on any error in its console."""
    context = browser.new_context(viewport={"width": 1100, "height": 1500}, accept_downloads=True)
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda fault: faults.append(str(fault)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.set_default_timeout(90_000)
    yield page
    context.close()
    assert avoidable(faults) == []


@pytest.fixture(scope="module")
def run(small_dcgan: Generator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    rank(small_dcgan, ["main.2", "main.5"], range(30), k=4).save(folder)
    write_page(folder)
    return folder


def opened(page: Page, run: Path) -> Page:
    page.goto(f"file://{run}/index.html")
    page.locator(".row").first.wait_for()
    return page


def units_shown(page: Page) -> list[int]:
    """Read the units in the page, in their order; those far out of sight are not in it."""
    rows: list[list[int]] = page.locator(".row").evaluate_all(
        "rows => rows.map(row => [+row.getAttribute('aria-posinset'), +row.dataset.unit])"
    )
    return [unit for _, unit in sorted(rows)]


def test_every_unit_has_a_row_with_its_top_images(page: Page, run: Path) -> None:
    opened(page, run)
    assert units_shown(page) == list(range(12))
    assert page.locator(".row").first.locator(".shot").count() == 4
    assert page.title() == "DCGANGenerator – ganpatch review"
    expect(page.locator("h1")).to_contain_text("30 images, top 4 by max")
    assert page.locator(".shot").first.get_attribute("title").startswith("seed ")  # type: ignore[union-attr]


def test_thumbnails_show_the_image_of_their_seed(page: Page, run: Path) -> None:
    """The pixels on screen are those of the ranked image."""
    import io

    import numpy as np
    from PIL import Image

    from ganpatch import Ranking

    opened(page, run)
    ranking = Ranking.load(run)
    for unit, place in ((0, 0), (3, 2), (9, 3)):
        shot = page.locator(f".row[data-unit='{unit}'] .shot").nth(place)
        page.mouse.move(1, 1)
        seen = np.asarray(Image.open(io.BytesIO(shot.screenshot())).convert("RGB")).astype(int)
        wanted = ranking.thumbnails[int(ranking["main.2"].top_seeds[unit, place])].astype(int)
        zoom, left = divmod(seen.shape[0], wanted.shape[0])
        assert left == 0, "enlarged by a whole number, its pixels crisp"
        inner = wanted[1:-1, 1:-1]  # its corners are round
        assert (seen[zoom // 2 :: zoom, zoom // 2 :: zoom][1:-1, 1:-1] == inner).all()
        assert (seen[zoom:-zoom, zoom:-zoom] == inner.repeat(zoom, 0).repeat(zoom, 1)).all()


def test_suggestions_are_sort_orders_with_a_line_that_explains_them(page: Page, run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    manifest = read_manifest(folder)
    facts = MethodFacts(explains="how odd <b>it</b> is", layers=("main.2",))
    found = Found(score=torch.tensor([0.0, 3, 1, 2, 0, 0, 0, 0, 0, 0, 0, 9]))
    save_suggestions(folder, manifest, {"typicality": Suggested(facts=facts, layers={"main.2": found})})
    write_page(folder)
    opened(page, folder)
    assert units_shown(page)[:4] == [11, 1, 3, 2], "what was suggested comes first without asking"
    expect(page.locator("#explained")).to_have_text("suggested: typicality: how odd <b>it</b> is")
    expect(page.locator(".row.here")).to_contain_text("1. suggested: typicality")
    page.select_option("#sort", "unit")
    assert units_shown(page)[:2] == [0, 1]
    expect(page.locator("#explained")).to_have_text("Sorted by unit number: in the order of the layer.")


def test_suggested_sets_are_shown_with_their_images_and_command(page: Page, run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    manifest = read_manifest(folder)
    seeds = manifest.thumbnails.seeds[:5]
    one = UnitSet(name="set-1", layer="main.5", channels=8, units=(1, 2, 5), values=(0.5, 0, 1), images=(*seeds, 10**9),
                  start="images <b>that</b> most activate unit 2 of main.5", locality=9.0, gain=0.873, harm=0.0125)  # fmt: skip
    save_suggestions(folder, manifest, {}, [one])
    write_page(folder)
    opened(page, folder)
    expect(page.locator("#sets summary")).to_have_text("1 suggested set of units that draw a fault together")
    facts = page.locator("#sets .about-set")
    expect(facts).to_contain_text("set-1 takes away 87 % of what these images share; changes others by 1.3 %")
    expect(facts).to_contain_text("main.5, 3 units: 1-2,5. From images <b>that</b> most activate unit 2 of main.5.")
    assert page.locator("#sets .shot").count() == 5, "images without a thumbnail are left out"
    page.evaluate("navigator.clipboard.writeText = text => { window.copied = text; return Promise.resolve() }")
    page.locator("#sets button").click()
    expect(page.locator("#saved")).to_have_text("Copied")
    assert page.evaluate("window.copied") == f"ganpatch flag {folder} --suggested set-1 -o fix.yaml"


def test_keys_flag_undo_and_move(page: Page, run: Path) -> None:
    opened(page, run)
    for key in ("j", "j", "f", "j", "f", "k", "k", "Space"):
        page.keyboard.press(key)
    assert page.locator(".row.flagged").evaluate_all("rows => rows.map(row => row.dataset.unit)") == ["1", "2", "3"]
    expect(page.locator("#counts")).to_have_text("3 of 12 units flagged")
    page.keyboard.press("u")
    expect(page.locator("#counts")).to_have_text("2 of 12 units flagged")
    page.keyboard.press("n")
    assert page.locator(".row.here").get_attribute("data-unit") == "2"
    page.keyboard.press("End")
    assert page.locator(".row.here").get_attribute("data-unit") == "11"


def test_flags_survive_a_reload(page: Page, run: Path) -> None:
    opened(page, run)
    page.keyboard.press("j")
    page.keyboard.press("r")
    page.keyboard.type("smeared sky")
    page.keyboard.press("Enter")
    page.reload()
    expect(page.locator(".row.flagged")).to_have_count(1)
    assert page.locator(".row.flagged .reason").input_value() == "smeared sky"
    expect(page.locator("#counts")).to_have_text("1 of 12 units flagged")


def test_sorting_and_filtering(page: Page, run: Path) -> None:
    from ganpatch import Ranking

    opened(page, run)
    ranked = Ranking.load(run)["main.2"]
    page.select_option("#sort", "peak")
    assert units_shown(page)[0] == int(ranked.peak.argmax())
    page.select_option("#sort", "rare")
    assert units_shown(page)[0] == int(ranked.firing_rate.argmin())
    page.fill("#filter", "3, 7-9")
    assert sorted(units_shown(page)) == [3, 7, 8, 9]
    page.fill("#filter", "flagged")
    expect(page.locator("#counts")).to_have_text("0 of 12 units flagged · 0 shown")
    page.fill("#filter", "")
    assert len(units_shown(page)) == 12


def test_layers_have_their_own_rows_and_flags(page: Page, run: Path) -> None:
    opened(page, run)
    page.keyboard.press("f")
    page.get_by_role("button", name="main.5 (8)").click()
    expect(page.locator(".row")).to_have_count(8)
    page.keyboard.press("j")
    page.keyboard.press("f")
    expect(page.locator("#counts")).to_have_text("1 of 8 units flagged, 2 in all layers")


def test_heat_shows_where_a_unit_fires(page: Page, run: Path) -> None:
    opened(page, run)
    assert page.locator("canvas").count() == 0
    page.locator(".shot").first.hover()
    assert page.locator("canvas").count() == 1
    page.mouse.move(5, 5)
    assert page.locator("canvas").count() == 0
    page.keyboard.press("h")
    expect(page.locator(".row.here .shot[data-where=outline] canvas")).to_have_count(4)
    page.keyboard.press("h")
    expect(page.locator(".row.here .shot[data-where=heat] canvas")).to_have_count(4)
    brightest = page.locator("canvas").first.evaluate(
        "c => { const p = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        " let best = 0, at = 0; for (let i = 0; i < p.length; i += 4) if (p[i + 3] > best) { best = p[i + 3]; at = i / 4 }"
        " return at }"
    )
    from ganpatch import Ranking

    assert brightest == int(Ranking.load(run)["main.2"].top_maps[0, 0].flatten().argmax())


def test_a_closer_look(page: Page, run: Path) -> None:
    opened(page, run)
    page.keyboard.press("Enter")
    expect(page.locator("dialog[open] figure")).to_have_count(2)
    ranked = Ranking.load(run)["main.2"]
    rows = int((ranked.top_seeds == ranked.top_seeds[0, 0]).sum())
    wanted = f", in {rows} row{'' if rows == 1 else 's'} of 12"
    expect(page.locator("dialog[open] figure").first).to_contain_text(wanted)
    page.keyboard.press("Escape")
    expect(page.locator("dialog[open]")).to_have_count(0)


def test_verdicts_download_into_a_patch(page: Page, run: Path, tmp_path: Path) -> None:
    opened(page, run)
    for key in ("f", "j", "f"):
        page.keyboard.press(key)
    page.get_by_role("button", name="main.5 (8)").click()
    expect(page.locator(".row")).to_have_count(8)
    page.keyboard.press("f")
    with page.expect_download() as download:
        page.click("#download")
    download.value.save_as(tmp_path / "v.json")
    assert download.value.suggested_filename == "verdicts-DCGANGenerator.json"
    manifest = read_manifest(run)
    patch = patch_from_flags(manifest, read_verdicts(tmp_path / "v.json", manifest).flags, name="fix")
    assert [(edit.layer, edit.units) for edit in patch.edits] == [("main.2", (0, 1)), ("main.5", (0,))]


def test_the_copied_command_makes_the_same_patch(page: Page, run: Path, tmp_path: Path) -> None:
    opened(page, run)
    page.evaluate("navigator.clipboard.writeText = text => { window.copied = text; return Promise.resolve() }")
    for key in ("j", "f", "r"):
        page.keyboard.press(key)
    page.keyboard.type('it\'s "odd"')
    page.keyboard.press("Enter")
    for key in ("j", "f"):
        page.keyboard.press(key)
    page.click("#copy")
    command = page.evaluate("window.copied")
    assert command.startswith(f"ganpatch flag {run} --layer main.2 --units 1-2 --reason ")
    command = command.replace("ganpatch", f"{Path(sys.executable).parent / 'ganpatch'}").replace(
        "fix.yaml", str(tmp_path / "fix.yaml")
    )
    subprocess.run(command, shell=True, check=True, capture_output=True)
    (edit,) = Patch.load(tmp_path / "fix.yaml").edits
    assert (edit.units, edit.reason) == ((1, 2), 'it\'s "odd"')


def test_512_units_stay_quick(browser: Browser, tmp_path: Path) -> None:
    """A key moves and scrolls without rebuilding rows."""
    import torch
    from torch import nn

    import ganpatch

    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Unflatten(1, (8, 1, 1)), nn.ConvTranspose2d(8, 512, 4), nn.ReLU(), nn.ConvTranspose2d(512, 3, 4, 2, 1)
    )
    rank(ganpatch.load(module, latent="normal:8"), ["2"], range(40), k=12).save(tmp_path)
    write_page(tmp_path)
    page = browser.new_page()
    page.goto(f"file://{tmp_path}/index.html")
    expect(page.locator(".row").first).to_have_attribute("aria-setsize", "512")
    assert page.locator(".row").count() < 40, "only what is in sight is in the page"
    for _ in range(30):
        page.keyboard.press("j")
    assert page.locator(".row.here").get_attribute("data-unit") == "30"
    assert page.locator("#scroller").evaluate("box => box.scrollTop") > 0
    page.keyboard.press("k")
    row = page.locator(".row[data-unit='30']").element_handle()
    page.keyboard.press("j")
    assert page.locator(".row.here").evaluate("(here, row) => here === row", row), "a key builds no row that is there"
    page.close()


def test_a_narrow_screen_does_not_scroll_sideways(browser: Browser, run: Path) -> None:
    page = browser.new_page(viewport={"width": 360, "height": 700})
    opened(page, run)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.close()


def test_text_from_a_run_is_only_text(page: Page, run: Path) -> None:
    opened(page, run)
    page.keyboard.press("r")
    page.keyboard.type("<img src=x onerror=alert(1)>")
    page.keyboard.press("Enter")
    assert page.locator("main img, header img").count() == 0


class Served:
    """`ganpatch review` as a process."""

    def __init__(self, run: Path, port: int = 0) -> None:
        command = [str(Path(sys.executable).parent / "ganpatch"), "review", str(run), "--port", str(port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        self.port = int(self.address.split(":")[2].split("/")[0])

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def served(run: Path) -> Iterator[Served]:
    server = Served(run)
    yield server
    server.kill()
    (run / "verdicts.json").unlink(missing_ok=True)


def saved_units(run: Path) -> list[int]:
    path = run / "verdicts.json"
    return [flag["unit"] for flag in json.loads(path.read_text())["flags"]] if path.exists() else []


def wait_for_units(run: Path, units: list[int]) -> None:
    deadline = time.monotonic() + 90
    while saved_units(run) != units and time.monotonic() < deadline:
        time.sleep(0.05)
    assert saved_units(run) == units


def test_served_flags_are_saved_at_once(page: Page, run: Path, served: Served) -> None:
    page.goto(served.address)
    page.locator(".row").first.wait_for()
    for key in ("j", "f", "j", "f"):
        page.keyboard.press(key)
    wait_for_units(run, [1, 2])
    expect(page.locator("#saved")).to_have_text("Saved")
    page.keyboard.press("u")
    wait_for_units(run, [1])
    manifest = read_manifest(run)
    assert [flag.unit for flag in chosen_flags(run, manifest, units=None, layer=None, reason="", verdicts=None)] == [1]


def test_another_browser_sees_what_was_flagged(browser: Browser, page: Page, run: Path, served: Served) -> None:
    page.goto(served.address)
    page.keyboard.press("f")
    wait_for_units(run, [0])
    other = browser.new_context().new_page()
    other.goto(served.address)
    expect(other.locator(".row.flagged")).to_have_count(1)
    other.context.close()


def test_flags_made_while_the_server_is_dead_are_sent_when_it_is_back(page: Page, run: Path) -> None:
    server = Served(run)
    page.goto(server.address)
    page.keyboard.press("f")
    wait_for_units(run, [0])
    expect(page.locator("#saved")).to_have_text("Saved")  # the answer has arrived: nothing is under way when it dies
    token, port = server.address.split("token=")[1], server.port
    server.kill()
    page.keyboard.press("j")
    page.keyboard.press("f")
    expect(page.locator("#saved")).to_contain_text("Not saved: the server does not answer")
    assert saved_units(run) == [0]
    assert token
    page.goto("about:blank")  # left open, it would ask the new server with the old token, and be refused
    again = Served(run, port)
    try:
        page.goto(again.address)  # a new token: the address that the new server printed
        wait_for_units(run, [0, 1])
        expect(page.locator(".row.flagged")).to_have_count(2)
    finally:
        again.kill()
        (run / "verdicts.json").unlink()
