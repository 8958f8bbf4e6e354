"""What ganpatch costs, as ratios to the bare forward pass of the same images in the same run.

    python tools/bench.py                   # churches, and the face DCGAN where tools/fetch_faces.py has fetched it
    python tools/bench.py --repeats 9 --write docs/performance.md

One thread, CPU time, medians of interleaved repeats: absolute figures drift on shared machines, these ratios do not.
Memory is the peak of a process of its own.
"""

import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import torch
from bench_studio import scrolling, stroke
from fetch_faces import FACES

import ganpatch
from ganpatch.activations import batched, layer_facts
from ganpatch.cli import _keep_freed_memory
from ganpatch.dissect import dissect
from ganpatch.edit import Edit
from ganpatch.patch import Model, Patch
from ganpatch.rank import rank
from ganpatch.review.run import rank_to_folder
from ganpatch.segment import load_segmenter

IMAGES = 1000
MODELS = {
    "churches": ("churches", "layer4", ["layer2", "layer4", "layer6", "layer8"]),
    "face DCGAN": (str(FACES), "main.5", ["main.2", "main.5", "main.8", "main.11"]),
}
CHROMIUM = "/usr/bin/chromium"


def bare(generator: ganpatch.Generator) -> None:
    """The limit: the forward passes alone."""
    with torch.inference_mode():
        for seeds in batched(range(IMAGES)):
            args, _ = generator.inputs(seeds)
            generator.module(*args)


def cpu_seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def ratios(generator: ganpatch.Generator, one: str, four: list[str], repeats: int) -> dict[str, float]:
    def to_page() -> None:
        with tempfile.TemporaryDirectory() as folder:
            rank_to_folder(generator, Path(folder) / "run", [one], range(IMAGES))

    jobs: dict[str, Callable[[], object]] = {
        "rank, 1 layer": lambda: rank(generator, [one], range(IMAGES)),
        "rank, 4 layers": lambda: rank(generator, four, range(IMAGES)),
        "rank to finished review page": to_page,
    }
    bare(generator)
    found: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(repeats):
        for name, job in jobs.items():
            before, own, after = (
                cpu_seconds(lambda: bare(generator)),
                cpu_seconds(job),
                cpu_seconds(lambda: bare(generator)),
            )
            found[name].append(own / ((before + after) / 2))
    return {name: statistics.median(values) for name, values in found.items()}


def ratio_of_dissecting(generator: ganpatch.Generator, layer: str, repeats: int) -> float:
    """Dissecting against 10 concepts, thresholds included, to the bare forward passes of generator and segmenter."""
    segmenter = load_segmenter("churches", generator)

    def both() -> None:
        with torch.inference_mode():
            for seeds in batched(range(IMAGES)):
                segmenter.labels(generator.sample(seeds))

    found = []
    both()
    for _ in range(repeats):
        before = cpu_seconds(both)
        own = cpu_seconds(lambda: dissect(generator, segmenter, [layer], range(IMAGES)))
        found.append(own / ((before + cpu_seconds(both)) / 2))
    return statistics.median(found)


def peak_memory(model: str, layer: str, images: int) -> float:
    """Peak memory, in MB, of a process that ranks so many images to a page."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--memory", model, layer, str(images), folder]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def rank_and_report_memory(model: str, layer: str, images: int, folder: str) -> None:
    _keep_freed_memory()
    torch.set_num_threads(1)
    rank_to_folder(ganpatch.load(model), Path(folder) / "run", [layer], range(images))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def seconds_of_baking(generator: ganpatch.Generator, layer: str) -> dict[str, float]:
    """Wall-clock seconds, with all threads, of a bake with its proof and an export with its comparison."""
    channels = next(fact.units for fact in layer_facts(generator) if fact.name == layer)
    edit = Edit(id="e", layer=layer, channels=channels, units=range(0, 20))
    patch = Patch(name="bench", model=Model.of(generator.name, generator.fingerprint), edits=[edit])
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, job in {
            "bake and proof": lambda: ganpatch.bake(generator, patch),
            "ONNX export and comparison": lambda: ganpatch.export_onnx(generator, Path(folder) / "a.onnx", patch=patch),
        }.items():
            job()
            started = time.monotonic()
            job()
            found[name] = time.monotonic() - started
    return found


def page_with_512_units() -> dict[str, float]:
    """Seconds to the first rows of a review page with 512 units, and milliseconds of a frame while it scrolls."""
    from playwright.sync_api import sync_playwright

    module = torch.nn.Sequential(
        torch.nn.Unflatten(1, (8, 1, 1)),
        torch.nn.ConvTranspose2d(8, 512, 4),
        torch.nn.ReLU(),
        torch.nn.ConvTranspose2d(512, 3, 16, 16),
    )
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        rank_to_folder(ganpatch.load(module, latent="normal:8"), Path(folder) / "run", ["2"], range(IMAGES))
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1200, "height": 800})
        started = time.monotonic()
        page.goto(f"file://{folder}/run/index.html")
        page.wait_for_selector(".row")
        first = time.monotonic() - started
        frames = page.evaluate(
            """() => new Promise(done => { const times = []; let last = performance.now(); let n = 0;
            const step = now => { times.push(now - last); last = now; scrollBy(0, 120);
            ++n < 120 ? requestAnimationFrame(step) : done(times.slice(5)) }; requestAnimationFrame(step) })"""
        )
        browser.close()
    return {"first": first, "frame": statistics.median(frames), "slow": statistics.quantiles(frames, n=20)[-1]}


@click.command()
@click.option("--repeats", default=5, show_default=True)
@click.option("--write", type=click.Path(path_type=Path), help="Write the tables to this file as well.")
@click.option("--memory", nargs=4, hidden=True)
def main(repeats: int, write: Path | None, memory: tuple[str, str, str, str] | None) -> None:
    if memory:
        rank_and_report_memory(memory[0], memory[1], int(memory[2]), memory[3])
        return
    _keep_freed_memory()
    models = {name: entry for name, entry in MODELS.items() if entry[0] != str(FACES) or FACES.exists()}
    rows = {name: measured(*entry, repeats) for name, entry in models.items()}
    text = report(rows, page_with_512_units(), scrolling(), repeats)
    print(text)
    if write:
        write.write_text(text)


def measured(model: str, one: str, four: list[str], repeats: int) -> dict[str, str]:
    generator = ganpatch.load(model)
    found = {f"{name} [s]": f"{value:.1f}" for name, value in seconds_of_baking(generator, one).items()}
    torch.set_num_threads(1)
    bare(generator)
    speed = IMAGES / cpu_seconds(lambda: bare(generator))
    cost = {f"{name} [x bare]": f"{value:.2f}" for name, value in ratios(generator, one, four, repeats).items()}
    cost["dissect, 1 layer, 10 concepts [x bare, with segmenter]"] = (
        f"{ratio_of_dissecting(generator, one, repeats):.2f}"
    )
    torch.set_num_threads(torch.get_num_interop_threads())
    memory = {f"peak memory, n = {n:,} [MB]": f"{peak_memory(model, one, n):.0f}" for n in (IMAGES, 10 * IMAGES)}
    answer = {"brush stroke to image, in the browser [ms]": f"{stroke(model, one)['median']:.0f}"}
    return {"bare forward [images/s, 1 thread]": f"{speed:.0f}", **cost, **memory, **answer, **found}


TARGETS = {
    "rank, 1 layer [x bare]": "1.05",
    "rank, 4 layers [x bare]": "1.10",
    "rank to finished review page [x bare]": "1.25",
    "dissect, 1 layer, 10 concepts [x bare, with segmenter]": "1.50",
    "peak memory, n = 10,000 [MB]": "as n = 1,000",
    "brush stroke to image, in the browser [ms]": "100",
    "bake and proof [s]": "5",
    "ONNX export and comparison [s]": "5",
}


def report(rows: dict[str, dict[str, str]], page: dict[str, float], studio: dict[str, float], repeats: int) -> str:
    names = list(rows)
    machine = (
        f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}, torch {torch.__version__}"
    )
    cells = [
        f"| {row} | {' | '.join(rows[name][row] for name in names)} | {TARGETS.get(row, '')} |"
        for row in rows[names[0]]
    ]
    lines = [
        "# Performance",
        "",
        f"`python tools/bench.py --repeats {repeats} --write docs/performance.md`: {IMAGES} images in batches of 32,",
        f"one thread, CPU time, medians of {repeats} interleaved repeats; seconds are wall clock with all threads.",
        f"{machine}.",
        "",
        f"| | {' | '.join(names)} | target |",
        f"|---|{'---|' * len(names)}---|",
        *cells,
        "",
        "Review page with 512 units of 12 images, from disk, in headless Chromium: "
        f"first rows after {page['first']:.2f} s (target 1 s);",
        f"while it scrolls a frame takes {page['frame']:.0f} ms, one in twenty {page['slow']:.0f} ms or more.",
        f"In the studio: first rows after {studio['first']:.2f} s, a frame {studio['frame']:.0f} ms,",
        f"one in twenty {studio['slow']:.0f} ms or more.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
