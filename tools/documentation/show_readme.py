"""Makes the pictures of README.md: faults before and after the patches that ship, and the studio, moving.

python -m tools.documentation.show_readme                  # two minutes on two cores
python -m tools.documentation.show_readme --only moving
"""

import io
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import Page

import ganpatch
from ganpatch import Patch
from ganpatch.disk.atomic_files import write_bytes
from ganpatch.families.churches import STUDY
from ganpatch.pages.image_grids import Pixels, to_pixels
from ganpatch.patch.applying import applied, edits_applied
from ganpatch.studio.bundled import FIRST, FirstImages
from tools.benchmarks.bench_studio import ROOT, served
from tools.patches.fetch_faces import FACES

PICTURES = ROOT / "docs" / "pictures"
SEEDS = range(1000, 1256)
EACH, EDGE, GAP = 6, 128, 3  # pairs of a model, their edge in pixels, the space between them
SIZE, MOST_BYTES = (1080, 700), 1_000_000  # of the studio's window; of the file
SHRUNK, QUALITY = 0.72, 55


def pairs(model: str, patch: Patch) -> tuple[list[Pixels], list[Pixels]]:
    """Return images before and after: of each edit in turn the images that it changes most."""
    generator = ganpatch.load(model)
    before = generator.sample(SEEDS)
    with applied(generator.module, patch):
        after = generator.sample(SEEDS)
    orders = []
    for edit in patch.edits:
        with edits_applied(generator.module, [edit]):
            changed = (generator.sample(SEEDS) - before).abs().mean((1, 2, 3))
        orders.append(changed.argsort(descending=True).tolist())
    chosen = list(dict.fromkeys(order[place] for place in range(EACH) for order in orders))[:EACH]
    rows = torch.tensor(chosen)
    return list(to_pixels(before[rows])), list(to_pixels(after[rows]))


def still() -> None:
    """Draw two models, one above the other: above before, below after."""
    found = [pairs(model, Patch.load(ROOT / "patches" / f"{name}.yaml")) for model, name in MODELS]
    left, step = 64, EDGE + GAP
    sheet = Image.new("RGB", (left + EACH * step, 4 * step + 12), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for place, rows in enumerate(found):
        for line, (words, images) in enumerate(zip(("before", "after"), rows, strict=True)):
            y = place * (2 * step + 12) + line * step
            draw.text((4, y + EDGE // 2 - 8), words, (60, 60, 60), font)
            for column, pixels in enumerate(images):
                picture = Image.fromarray(pixels).resize((EDGE, EDGE), Image.Resampling.BICUBIC)
                sheet.paste(picture, (left + column * step, y))
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=90, subsampling=0)
    kept(PICTURES / "before-after.jpg", buffer.getvalue())


MODELS = (("churches", "churches"), (str(FACES), "faces"))


class Film:
    """Screenshots of a page, each shown for some milliseconds."""

    def __init__(self, page: Page) -> None:
        self.page, self.frames, self.times = page, list[Image.Image](), list[int]()

    def take(self, milliseconds: int) -> None:
        """Take one more picture; one that equals the last makes that last longer."""
        picture = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
        picture = picture.resize((int(SIZE[0] * SHRUNK), int(SIZE[1] * SHRUNK)), Image.Resampling.LANCZOS)
        if self.frames and np.array_equal(np.asarray(picture), np.asarray(self.frames[-1])):
            self.times[-1] += milliseconds
            return
        self.frames.append(picture)
        self.times.append(milliseconds)

    def encoded(self) -> bytes:
        """Return the film as an animated WebP that repeats."""
        buffer = io.BytesIO()
        self.frames[0].save(
            buffer, "WEBP", save_all=True, append_images=self.frames[1:], duration=self.times, loop=0,
            quality=QUALITY, method=6, minimize_size=True,
        )  # fmt: skip
        return buffer.getvalue()


def stroke(film: Film, places: Sequence[tuple[float, float]]) -> None:
    """Paint through places that are shares of the image, and film what happens."""
    page = film.page
    box = page.locator("canvas.over").bounding_box()
    assert box is not None
    for number, (x, y) in enumerate(places):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        if number == 0:
            page.wait_for_timeout(200)
            film.take(400)
            page.mouse.down()
        page.wait_for_timeout(600)
        film.take(160)
    page.mouse.up()
    page.get_by_text("Saved", exact=True).wait_for()
    page.mouse.move(box["x"] - 20, box["y"] + 20)
    page.wait_for_timeout(600)
    film.take(900)


def through(place: tuple[float, float], by: float = 0.07) -> list[tuple[float, float]]:
    """Return a small stroke around a place."""
    x, y = place
    return [(x, y - by), (x - by / 2, y), (x + by / 2, y), (x, y + by)]


def step(film: Film, name: str, ready: Callable[[Page], object]) -> None:
    """Take one of the studio's first steps."""
    film.page.get_by_role("button", name=name).click()
    ready(film.page)
    film.page.wait_for_timeout(2500)
    film.take(900)


def moving() -> None:
    """Film the first minute of the studio."""
    first = FirstImages.model_validate_json((STUDY / FIRST).read_bytes())
    with tempfile.TemporaryDirectory() as folder, served("churches", "--n", "24", cwd=folder) as (page, address):
        page.set_viewport_size({"width": SIZE[0], "height": SIZE[1]})
        page.goto(address)
        page.locator("#steps button").first.wait_for()
        page.wait_for_timeout(4000)
        film = Film(page)
        film.take(1200)
        stroke(film, through(first.tree))
        step(film, "Put a door on a wall", lambda page: page.get_by_label("door: the units").wait_for())
        stroke(film, through(first.wall, 0.03))
        step(film, "Switch off the date stamps", lambda page: page.locator(".tile").first.wait_for())
        wipe = page.get_by_label("to see the other one")
        for share in (0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25, 0):
            wipe.fill(str(share))
            film.take(140)
        step(film, "See it on 30 images", lambda page: page.locator(".pairing").nth(20).wait_for())
        film.times[-1] += 1500
    kept(PICTURES / "studio.webp", film.encoded())


def kept(path: Path, content: bytes) -> None:
    assert len(content) < MOST_BYTES, f"{path.name} has {len(content)} bytes"
    write_bytes(path, content)
    print(f"{path.relative_to(ROOT)}: {len(content) // 1000} kB", flush=True)


SHOTS = {"still": still, "moving": moving}


@click.command()
@click.option("--only", multiple=True, type=click.Choice(list(SHOTS)))
def main(only: tuple[str, ...]) -> None:
    PICTURES.mkdir(exist_ok=True)
    for name in only or SHOTS:
        SHOTS[name]()


if __name__ == "__main__":
    main()
