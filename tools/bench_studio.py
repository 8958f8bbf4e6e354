"""What the studio answers in, seen from the browser: a brush stroke to its image, and 512 units to scroll through.

python tools/bench_studio.py        # tools/bench.py shows the same in its table
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fetch_faces import FACES
from playwright.sync_api import Page, sync_playwright

import ganpatch
from ganpatch.review.run import rank_to_folder

CHROMIUM = "/usr/bin/chromium"
WIDE = """
import torch
def make():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Unflatten(1, (8, 1, 1)), torch.nn.ConvTranspose2d(8, 512, 4), torch.nn.ReLU(),
                               torch.nn.ConvTranspose2d(512, 3, 16, 16))
"""
WATCH = """() => { window.seen = []; new MutationObserver(() => window.seen.push(parseInt(
    document.querySelector('#paint-ms').textContent.match(/\\d+/)?.[0] ?? 'NaN')))
    .observe(document.querySelector('#paint-ms'), { childList: true, characterData: true, subtree: true }) }"""
WAIT = """layer => fetch('api/images' + location.search, { method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ points: [{ seed: 1 }], unit: { layer, unit: 1 } }) }).then(answer => answer.blob())
    .then(() => 0)"""
SCROLL = """() => new Promise(done => { const times = []; let last = performance.now(); let n = 0;
    const box = document.querySelector('#scroller');
    const step = now => { times.push(now - last); last = now; box.scrollTop += 120;
    ++n < 120 ? requestAnimationFrame(step) : done(times.slice(5)) }; requestAnimationFrame(step) })"""


@contextmanager
def served(*arguments: str) -> Iterator[tuple[Page, str]]:
    """Serve a studio and give a page of a browser, and the address."""
    command = [str(Path(sys.executable).parent / "ganpatch"), "studio", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
            yield browser.new_page(viewport={"width": 1300, "height": 800}), address
            browser.close()
    finally:
        process.kill()
        process.communicate()


def stroke(model: str, layer: str) -> dict[str, float]:
    """Milliseconds from a move of the brush to the image that answers it: median, and one in twenty."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        rank_to_folder(ganpatch.load(model), run, [layer], range(64))
        with served(model, str(run), "-o", f"{folder}/s") as (page, address):
            page.goto(f"{address}#view=paint&seed=3&brush=unit:{layer}:5")
            page.wait_for_selector("#paint .image[data-drawn]")
            page.wait_for_timeout(1000)
            page.evaluate(WAIT, layer)  # answered when the pass has been cut
            page.evaluate(WATCH)
            box = page.locator("canvas.over").bounding_box()
            assert box is not None
            for number in range(60):
                x, y = 0.2 + 0.01 * number, 0.5 + 0.2 * (number % 7 - 3) / 3
                page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
                if number == 0:
                    page.mouse.down()
                page.wait_for_timeout(50)
            page.mouse.up()
            seen = [value for value in page.evaluate("window.seen") if value is not None]
    return {"median": statistics.median(seen), "slow": statistics.quantiles(seen, n=20)[-1], "answers": len(seen)}


def scrolling() -> dict[str, float]:
    """Seconds to the first of 512 units, and milliseconds of a frame while they scroll."""
    with tempfile.TemporaryDirectory() as folder:
        net = Path(folder) / "net.py"
        net.write_text(WIDE)
        model = f"{net}:make"
        rank_to_folder(ganpatch.load(model, latent="normal:8"), Path(folder) / "run", ["2"], range(1000))
        with served(model, f"{folder}/run", "--latent", "normal:8", "-o", f"{folder}/s") as (page, address):
            page.goto(address)
            page.wait_for_selector(".row")
            page.wait_for_timeout(3000)
            started = time.monotonic()
            page.reload()
            page.wait_for_selector(".row")
            first = time.monotonic() - started
            page.wait_for_timeout(3000)
            frames = page.evaluate(SCROLL)
    return {"first": first, "frame": statistics.median(frames), "slow": statistics.quantiles(frames, n=20)[-1]}


def main() -> None:
    models = {"churches": ("churches", "layer4"), "face DCGAN": (str(FACES), "main.5")}
    for name, (model, layer) in models.items():
        if name == "churches" or FACES.exists():
            found = stroke(model, layer)
            print(f"{name}: stroke to image {found['median']:.0f} ms, one in twenty {found['slow']:.0f} ms or more")
    page = scrolling()
    print(f"512 units: first rows after {page['first']:.2f} s, a frame takes {page['frame']:.0f} ms, ", end="")
    print(f"one in twenty {page['slow']:.0f} ms or more")


if __name__ == "__main__":
    main()
