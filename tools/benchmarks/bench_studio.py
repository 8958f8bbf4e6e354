"""What the studio answers in, seen from the browser: a brush stroke to its image, and 512 units to scroll through.

Example:

    python -m tools.benchmarks.bench_studio                # bench.py shows the same in its table
    python -m tools.benchmarks.bench_studio --against HEAD~3  # strokes here and at another commit, in turns
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from playwright.sync_api import Page, sync_playwright

import ganpatch
from ganpatch.runs.ranking_run import rank_to_folder
from tools.patches.fetch_faces import FACES

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = "/usr/bin/chromium"
MODELS = {"churches": ("churches", "layer4"), "face DCGAN": (str(FACES), "main.5")}
MOVES = 120
WIDE = """
import torch
def make():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Unflatten(1, (8, 1, 1)), torch.nn.ConvTranspose2d(8, 512, 4), torch.nn.ReLU(),
                               torch.nn.ConvTranspose2d(512, 3, 16, 16))
"""
# The image answers all moves that its request contains: a move is counted by the points that the request sends.
WATCH = """() => {
    window.waits = [];
    const moves = [], fetched = window.fetch;
    let sent = 0, oldest = null;
    document.querySelector('canvas.over')
        .addEventListener('pointermove', event => event.buttons && moves.push(event.timeStamp), true);
    window.fetch = (address, asked) => {
        if (String(address).includes('api/images') && JSON.parse(asked.body).painting?.strokes.length) {
            oldest = moves[sent] ?? null;
            sent = moves.length;
        }
        return fetched(address, asked);
    };
    new MutationObserver(() => { if (oldest !== null) window.waits.push(performance.now() - oldest); oldest = null; })
        .observe(document.querySelector('#paint .image'), { attributes: true, attributeFilter: ['data-drawn'] });
}"""
SCROLL = """() => new Promise(done => { const times = []; let last = performance.now(); let n = 0;
    const box = document.querySelector('#scroller');
    const step = now => { times.push(now - last); last = now; box.scrollTop += 120;
    ++n < 120 ? requestAnimationFrame(step) : done(times.slice(5)) }; requestAnimationFrame(step) })"""


@contextmanager
def served(*arguments: str, tree: Path = ROOT, cwd: str | None = None) -> Iterator[tuple[Page, str]]:
    """Serve the studio of a tree; yield a page of a browser, and the address."""
    command = [str(Path(sys.executable).parent / "ganpatch"), "studio", *arguments]
    env = {**os.environ, "PYTHONPATH": str(tree)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env, cwd=cwd)
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


def stroke(model: str, layer: str, tree: Path = ROOT) -> dict[str, float]:
    """Milliseconds from a move of the brush to the image that shows it: median, and one in twenty.

    Of the moves that one image answers, the one that waited longest counts. The brush moves 60 times a second.
    """
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        rank_to_folder(ganpatch.load(model), run, [layer], range(64))
        with served(model, str(run), "-o", f"{folder}/s", tree=tree) as (page, address):
            page.goto(f"{address}#view=paint&seed=3&brush=unit:{layer}:5")
            page.wait_for_selector("#paint .image[data-drawn]")
            page.wait_for_timeout(2000)
            page.evaluate(WATCH)
            box = page.locator("canvas.over").bounding_box()
            assert box is not None
            for number in range(MOVES):
                x, y = 0.2 + 0.6 * number / MOVES, 0.5 + 0.2 * (number % 7 - 3) / 3
                page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
                if number == 0:
                    page.mouse.down()
                page.wait_for_timeout(16)
            page.mouse.up()
            seen: list[float] = []
            for _ in range(30):  # seconds at most: the last moves are answered too
                page.wait_for_timeout(1000)
                if seen and seen == page.evaluate("window.waits"):
                    break
                seen = page.evaluate("window.waits")
    return {"median": statistics.median(seen), "slow": sorted(seen)[int(0.95 * len(seen))], "answers": len(seen)}


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


@contextmanager
def tree_of(commit: str) -> Iterator[Path]:
    """Put the package of a commit into a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "archive", commit, "ganpatch"], cwd=ROOT, check=True, capture_output=True)
        subprocess.run(["tar", "x", "-C", folder], input=archive.stdout, check=True)
        yield Path(folder)


@click.command()
@click.option("--against", metavar="COMMIT", help="Measure strokes at another commit too, in turns.")
@click.option("--turns", default=3, show_default=True, help="How often, with --against.")
def main(against: str | None, turns: int) -> None:
    models = {name: model for name, model in MODELS.items() if name == "churches" or FACES.exists()}
    if against is not None:
        with tree_of(against) as tree:
            for _ in range(turns):
                for name, model in models.items():
                    for what, place in ((against, tree), ("here", ROOT)):
                        print(f"{name}, {what}: {_told(stroke(*model, place))}", flush=True)
        return
    for name, model in models.items():
        print(f"{name}: {_told(stroke(*model))}")
    page = scrolling()
    print(f"512 units: first rows after {page['first']:.2f} s, a frame takes {page['frame']:.0f} ms, ", end="")
    print(f"one in twenty {page['slow']:.0f} ms or more")


def _told(found: dict[str, float]) -> str:
    return f"stroke to image {found['median']:.0f} ms, one in twenty {found['slow']:.0f} ms or more"


if __name__ == "__main__":
    main()
