"""What ganpatch costs, as ratios to the bare forward pass of the same images in the same run.

    python -m tools.benchmarks.bench                    # all parts, about a quarter of an hour on a quiet machine
    python -m tools.benchmarks.bench --only rank --only peers  # some of them; figures of the others stay
    python -m tools.benchmarks.bench --write                   # and put the tables into docs/performance.md
    python -m tools.benchmarks.bench --only rank --device cuda --batch-size 128 --images 4000

Churches, and the face DCGAN where tools/patches/fetch_faces.py has fetched it. One thread, processor time, medians of
interleaved repeats: absolute figures drift on shared machines, these ratios do not. Figures of all parts are kept in
runs/bench.json until they are measured again.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import torch

import ganpatch
from ganpatch.cli import _keep_freed_memory
from ganpatch.forward.layer_facts import list_layers
from ganpatch.patch.edit import Edit
from ganpatch.patch.patch_file import Model, Patch
from ganpatch.runs.ranking_run import rank_to_folder
from tools.benchmarks.graphs import on_graph
from tools.benchmarks.measure import Case, How, cases, machine
from tools.benchmarks.passes import dissecting, evaluating, memory, ranking
from tools.benchmarks.peers import peers
from tools.benchmarks.scaling import scaling
from tools.benchmarks.startup import startup
from tools.documentation.marked_text import write_between

ROOT = Path(__file__).resolve().parents[2]
KEPT, PAGE = ROOT / "runs" / "bench.json", ROOT / "docs" / "performance.md"
CHROMIUM = "/usr/bin/chromium"
Rows = dict[str, str]


def baking(case: Case, _how: How) -> Rows:
    """Wall-clock seconds, with all threads, of a bake with its proof and an export with its comparison."""
    generator = ganpatch.load(case.model)
    channels = next(fact.units for fact in list_layers(generator) if fact.name == case.one)
    edit = Edit(id="e", layer=case.one, channels=channels, units=range(0, 20))
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
            found[f"{name} [s]"] = f"{time.monotonic() - started:.1f}"
    return found


def stroking(case: Case, _how: How) -> Rows:
    from tools.benchmarks.bench_studio import stroke  # needs a browser, unlike the other parts

    return {"brush stroke to image, in the browser [ms]": f"{stroke(case.model, case.one)['median']:.0f}"}


def page_with_512_units() -> Rows:
    """Seconds to the first rows of a review page with 512 units, and milliseconds of a frame while it scrolls."""
    from playwright.sync_api import sync_playwright

    module = torch.nn.Sequential(
        torch.nn.Unflatten(1, (8, 1, 1)),
        torch.nn.ConvTranspose2d(8, 512, 4),
        torch.nn.ReLU(),
        torch.nn.ConvTranspose2d(512, 3, 16, 16),
    )
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        rank_to_folder(ganpatch.load(module, latent="normal:8"), Path(folder) / "run", ["2"], range(1000))
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
    return _frames({"first": first, "frame": statistics.median(frames), "slow": statistics.quantiles(frames, n=20)[-1]})


def _frames(found: dict[str, float]) -> Rows:
    return {
        "first rows [s]": f"{found['first']:.2f}",
        "a frame while it scrolls [ms]": f"{found['frame']:.0f}",
        "one frame in twenty [ms]": f"{found['slow']:.0f}",
    }


PER_CASE: dict[str, Callable[[Case, How], Rows]] = {
    "rank": ranking,
    "dissect": dissecting,
    "evaluate": evaluating,
    "memory": memory,
    "bake": baking,
    "graph": on_graph,
    "stroke": stroking,
    "peers": peers,
}
PARTS = [*PER_CASE, "pages", "scaling", "startup"]
PLACES = {"bench": [part for part in PARTS if part != "startup"], "startup": ["startup"]}  # in the page

TARGETS = {
    "rank, 1 layer [x bare]": "1.05",
    "rank, 4 layers [x bare]": "1.10",
    "rank to finished review page [x bare]": "1.25",
    "dissect, 1 layer, 10 concepts [x bare, with segmenter]": "1.50",
    "evaluate [x bare]": "6",
    "rank to page, peak memory for n and 4 n images [MB]": "the same",
    "brush stroke to image, in the browser [ms]": "100",
    "rank a graph, 1 layer [x onnxruntime]": "1.10",
    "one image after an edited layer of a graph [ms]": "100",
    "bake and proof [s]": "5",
    "ONNX export and comparison [s]": "5",
    "first rows [s]": "1",
    "a frame while it scrolls [ms]": "17",
}


@click.command()
@click.option(
    "--only", multiple=True, type=click.Choice(PARTS), help="Measure only this part; several times for several."
)
@click.option("--repeats", default=3, show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option("--batch-size", default=32, show_default=True)
@click.option("--images", type=int, help="Images of one pass, not as many as keep a processor busy.")
@click.option("--write", is_flag=True, help="Put the tables into docs/performance.md.")
@click.option("--show", is_flag=True, help="Measure nothing, show what is kept.")
def main(
    only: tuple[str, ...], repeats: int, device: str, batch_size: int, images: int | None, write: bool, show: bool
) -> None:
    _keep_freed_memory()
    how = How(repeats=repeats, device=device, batch_size=batch_size, images=images)
    kept: dict[str, Any] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    for part in () if show else only or PARTS:
        started = time.monotonic()
        kept[part] = {
            "tables": measured(part, how),
            "how": f"{machine()}; {device}, batches of {batch_size}, {repeats} repeats",
        }
        KEPT.parent.mkdir(exist_ok=True)
        KEPT.write_text(json.dumps(kept, indent=1))
        click.echo(f"{part}: {time.monotonic() - started:.0f} s", err=True)
    for name, parts in PLACES.items():
        known = {part: kept[part] for part in parts if part in kept}
        text = report(known)
        print(text)
        if write and known:
            write_between(PAGE, name, text)


def measured(part: str, how: How) -> dict[str, dict[str, Rows]]:
    """Return tables by their title: columns of rows."""
    if part == "pages":
        from tools.benchmarks.bench_studio import scrolling

        return {"Pages with 512 units": {"review page": page_with_512_units(), "studio": _frames(scrolling())}}
    if part == "scaling":
        return {title: {"": rows} for title, rows in scaling(how).items()}
    if part == "startup":
        return {"A start": startup(how.repeats)}
    columns = {}
    for name, case in cases().items():
        if part == "dissect" and name != "churches":  # whose segmenter it is
            continue
        columns[name] = PER_CASE[part](replace(case, images=how.images or case.images), how)
        torch.set_num_threads(torch.get_num_interop_threads())
    return {"Against what a user would run instead" if part == "peers" else "Costs": columns}


def report(kept: dict[str, Any]) -> str:
    """Join what was measured into Markdown: one table per title, and under it how it was measured."""
    tables: dict[str, dict[str, Rows]] = {}
    for found in kept.values():
        for title, columns in found["tables"].items():
            for column, rows in columns.items():
                tables.setdefault(title, {}).setdefault(column, {}).update(rows)
    lines = []
    for title, columns in tables.items():
        lines += [*([] if title == "A start" else [f"## {title}", ""]), *table(columns), ""]
    ways: dict[str, list[str]] = {}
    for part, found in kept.items():
        ways.setdefault(found["how"], []).append(part)
    lines += [f"`--only {' --only '.join(parts)}` on {how}." for how, parts in ways.items()]
    return "\n".join([*lines, ""])


def table(columns: dict[str, Rows]) -> list[str]:
    rows = list(dict.fromkeys(row for column in columns.values() for row in column))
    if list(columns) == [""] and len(rows) < 8:
        return [f"| {' | '.join(rows)} |", f"|{'---|' * len(rows)}", f"| {' | '.join(columns[''].values())} |"]
    has_targets = any(row in TARGETS for row in rows)
    heading = ["", *columns, *(["target"] if has_targets else [])]
    lines = [f"| {' | '.join(heading)} |", f"|{'---|' * len(heading)}"]
    for row in rows:
        cells = [
            row,
            *(column.get(row, "") for column in columns.values()),
            *([TARGETS.get(row, "")] if has_targets else []),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()
