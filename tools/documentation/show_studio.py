"""Takes the pictures of docs/studio.md from the studio as it is now, driven in Chromium on the bundled model.

Example:

    python -m tools.documentation.show_studio                 # two minutes on two cores; the runs are kept in runs/show
    python -m tools.documentation.show_studio --only paint
"""

import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import click
from PIL import Image
from playwright.sync_api import Browser, Page

import ganpatch
from ganpatch.disk.atomic_files import write_bytes
from ganpatch.families.churches import STUDY
from ganpatch.runs.ranking_run import rank_to_folder
from ganpatch.runs.run_folder import RunFolder
from ganpatch.runs.suggestion_run import suggest_for_run
from ganpatch.studio.bundled import FIRST, FirstImages
from tools.benchmarks.bench_studio import ROOT, served

RUN, PICTURES = ROOT / "runs" / "show" / "studio", ROOT / "docs" / "studio"
PATCH = ROOT / "patches" / "churches.yaml"
LARGEST = (1300, 800)
FIRST_IMAGES = FirstImages.model_validate_json((STUDY / FIRST).read_bytes())


def review(page: Page) -> None:
    page.wait_for_selector(".row")
    page.keyboard.press("h")
    page.wait_for_selector(".histogram i")


def paint(page: Page) -> None:
    page.get_by_role("button", name="20", exact=True).click()
    page.get_by_label("door: the units").check()
    page.get_by_role("button", name="insert", exact=True).click()
    stroke(page, FIRST_IMAGES.wall, (FIRST_IMAGES.wall[0] + 0.02, FIRST_IMAGES.wall[1] + 0.04))
    page.get_by_label("tree: the units").check()
    page.get_by_role("button", name="remove", exact=True).click()
    stroke(page, FIRST_IMAGES.tree, (FIRST_IMAGES.tree[0] + 0.03, FIRST_IMAGES.tree[1] + 0.06))
    page.locator(".edit").nth(6).wait_for()


def look(page: Page) -> None:
    page.keyboard.press("p")
    page.locator("#look .stage").click(position={"x": 190, "y": 190})
    page.locator("#look h2", has_text="active here").wait_for()
    page.locator(".tile").first.hover()
    page.get_by_label("to see the other one").fill("0.4")


def compare(page: Page) -> None:
    page.locator(".pairing").nth(31).wait_for()


def panel(page: Page) -> None:
    page.get_by_role("button", name="Fold or insert?").click()
    page.locator(".decision").first.wait_for(timeout=120_000)
    page.get_by_label("images", exact=True).select_option("100")
    page.get_by_role("button", name="Measure").click()
    page.locator(".quality .verdict").first.wait_for(timeout=300_000)
    page.locator(".versions summary").click()
    page.locator(".version").first.wait_for()


def phone(page: Page) -> None:
    page.wait_for_selector(".row")
    page.get_by_label("Sort").select_option("spike")


def stroke(page: Page, *places: tuple[float, float]) -> None:
    """Paint through places that are shares of the image."""
    box = page.locator("canvas.over").bounding_box()
    assert box is not None
    for number, (x, y) in enumerate(places):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=6)
        if number == 0:
            page.mouse.down()
    page.mouse.up()
    page.get_by_text("Saved", exact=True).wait_for()


Act = Callable[[Page], None]
# name -> where, how large, light or dark, what to do there, which part of the page
SHOTS: dict[str, tuple[str, tuple[int, int], str, Act, str | None]] = {
    "review": ("", LARGEST, "light", review, None),
    "compare": ("#view=compare", LARGEST, "light", compare, None),
    "panel": ("#view=compare", (1300, 2100), "light", panel, "#patch-panel"),
    "paint": (f"#view=paint&seed={FIRST_IMAGES.seed}", LARGEST, "light", paint, None),
    "look": (f"#view=look&seed={FIRST_IMAGES.faulty}", LARGEST, "light", look, None),
    "dark": ("#view=look&seed=3&to=9&t=0.4", LARGEST, "dark", lambda page: page.wait_for_selector(".tile"), None),
    "phone": ("", (360, 740), "light", phone, None),
}


@click.command()
@click.option("--only", multiple=True, type=click.Choice(list(SHOTS)))
def main(only: tuple[str, ...]) -> None:
    prepared()
    with (
        tempfile.TemporaryDirectory() as folder,
        served("churches", str(RUN), "--patch", str(PATCH), cwd=folder) as (first, address),
    ):
        browser = first.context.browser
        assert browser is not None
        for name in only or SHOTS:
            taken(browser, address, name)


def taken(browser: Browser, address: str, name: str) -> None:
    place, (width, height), scheme, act, part = SHOTS[name]
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    page.goto(address + place)
    page.wait_for_timeout(1500)
    act(page)
    page.wait_for_timeout(2500)
    kept(page.locator(part).screenshot() if part else page.screenshot(), PICTURES / f"{name}.png")
    page.close()


def prepared() -> None:
    """Make the run that is shown, once: a ranking, and what was suggested for it; concepts ship with the model."""
    if (RUN / "suggestions.json").exists():
        return
    generator = ganpatch.load("churches")
    rank_to_folder(generator, RunFolder(RUN, overwrite=True), ["layer4"], range(400))
    suggest_for_run(RUN, generator, ["spike"])


def kept(screenshot: bytes, path: Path) -> None:
    """Write a picture in 256 colours, a third as large."""
    buffer, picture = io.BytesIO(), Image.open(io.BytesIO(screenshot)).convert("RGB")
    picture.quantize(256, palette=picture.quantize(256)).save(buffer, "PNG", optimize=True)
    write_bytes(path, buffer.getvalue())
    print(f"{path.relative_to(ROOT)}: {len(buffer.getvalue()) // 1000} kB", flush=True)


if __name__ == "__main__":
    main()
