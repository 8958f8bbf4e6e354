"""Do the finding methods find units that are known to draw defects?

    python -m tools.benchmarks.bench_finding                       # all; about two hours of one core
    python -m tools.benchmarks.bench_finding --model churches --kind smear --draw 20
    python -m tools.benchmarks.bench_finding --write docs/finding.md

Planted faults: twenty random units of a layer are made to draw a defect where they are most active (planting.py).
In plantings of weights (weight_planting.py) there are five such units, whose incoming or outgoing weights are wrong.
Every method ranks the units; its first twenty, or five, are compared with the planted ones. Units that anyone flagged
by eye in that layer are left out, because they may draw faults of their own. Natural faults: the answer is the units
flagged by eye, by the author of the patches and two readers (tools/benchmarks/flagged.yaml). The random baseline is a
shuffled list. 1000 images are ranked, seeds 0-999; plantings use seeds from 500000. The methods were chosen on
plantings 0 to 15 and on the natural faults of all layers except those in FRESH.
"""

import json
import math
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click
import torch
import yaml
from PIL import Image
from torch import Tensor

import ganpatch
from ganpatch import Patch
from ganpatch.finding.methods import METHODS
from ganpatch.finding.task import Task
from ganpatch.forward.activations import batched
from ganpatch.generator.generator import Generator
from ganpatch.pages.image_grids import to_pixels
from ganpatch.ranking.ranker import rank
from tools.benchmarks.marked_text import replace_marked
from tools.benchmarks.planting import KINDS, Planted, Planting, plant
from tools.benchmarks.weight_planting import WEIGHT_KINDS, WeightPlanting, plant_weights
from tools.patches.fetch_faces import FACES

ROOT = Path(__file__).resolve().parents[2]
MODELS = {"churches": ("churches", "layer4"), "faces": (str(FACES), "main.5")}
OTHER_LAYERS = {"churches": ("layer2", "layer6"), "faces": ("main.2", "main.8")}
WITHOUT_HELP = (
    "first-look",
    "typicality",
    "oddity",
    "rarity",
    "spike",
    "weights",
)  # these need neither real nor broken images
WITH_HELP = ("fd", "defect")  # fd gets images of the healthy generator as real, defect the most changed images
COUNT, IMAGES, BROKEN = 20, 1000, 24
HEALTHY = range(600_000, 601_000)
SCREEN = 40 / 256  # the share of a layer's units that a person looks at first
OTHER_READER = {"A": "B", "B": "A"}
FRESH = ("layer1", "layer5", "main.11")  # no choice was based on the flags of these layers
FLAGGED = yaml.safe_load(Path(__file__).with_name("flagged.yaml").read_text())
PATCHES = ROOT / "patches"


@dataclass(frozen=True, kw_only=True)
class Case:
    """The result of one method on one ranked generator with known answers."""

    model: str
    layer: str
    kind: str
    strength: float
    rate: float
    draw: int
    method: str
    precision: float
    average: float
    found: float
    times_ranking: float
    flagged: str = ""


def measured(score: Tensor, truth: Sequence[int], out: Sequence[int]) -> tuple[float, float, float]:
    """Return precision at 20, average precision and the share of the truth on the first screen, without units `out`.

    Where fewer than 20 units are to be found, it is the precision at their number.
    """
    score = score.clone()
    score[[unit for unit in out if unit not in truth]] = -math.inf
    count = min(COUNT, len(truth))
    hits = torch.isin(score.argsort(descending=True, stable=True), torch.tensor(truth)).double()
    precision = hits.cumsum(0) / torch.arange(1, len(hits) + 1)
    return (
        float(hits[:count].mean()),
        float((precision * hits).sum() / len(truth)),
        float(hits[: round(SCREEN * len(hits))].sum() / len(truth)),
    )


@dataclass(frozen=True, kw_only=True)
class Question:
    """A layer and the units to be found, per reader; units `out` are ignored, `help` is for methods that need it."""

    generator: Generator
    layer: str
    answers: Mapping[str, Sequence[int]]
    out: Sequence[int] = ()
    help: Mapping[str, Any] = field(default_factory=dict)


def run(question: Question, about: dict, methods: Sequence[str]) -> Iterator[Case]:
    generator, layer = question.generator, question.layer
    started = time.process_time()
    ranking = rank(generator, [layer], range(IMAGES))
    ranked_in = time.process_time() - started
    task = Task(generator=generator, ranking=ranking, **question.help)
    for method in methods:
        if method in WITH_HELP and not question.help:
            continue
        started = time.process_time()
        found = METHODS[method].find(task, layer)
        spent = (time.process_time() - started) / ranked_in
        for who, truth in question.answers.items():
            precision, average, first = measured(found.score, truth, question.out)
            numbers = {"precision": precision, "average": average, "found": first, "times_ranking": round(spent, 2)}
            yield Case(**about, method=method, flagged=who, **numbers)


def flagged(model: str, layer: str) -> dict[str, list[int]]:
    """Return the units flagged in a layer, per reader and per patch that ships."""
    found = dict(FLAGGED[model].get(layer, {}))
    for path in sorted(PATCHES.glob("*.yaml")):
        patch = Patch.load(path)
        units = [unit for edit in patch.edits if edit.layer == layer for unit in edit.units]
        if patch.model.name == model and units:
            found[f"`patches/{path.name}`"] = units
    return found


def cases(
    models: Sequence[str], kinds: Sequence[str], draws: Sequence[int], wide: bool, methods: Sequence[str]
) -> Iterator[Case]:
    for model in models:
        path, layer = MODELS[model]
        generator = ganpatch.load(path)
        for kind in kinds:
            if kind == "natural":
                yield from natural(model, generator, methods)
                continue
            if kind in WEIGHT_KINDS:
                yield from in_weights(model, generator, kind, draws, methods)
                continue
            settings = [(layer, 1.0, 0.05, draw) for draw in draws]
            if wide:
                draw = max(draws) + 1
                settings.append((layer, 0.5, 0.05, draw))
                settings += [(layer, 1.0, rate, draw) for rate in (0.01, 0.2)]
                settings += [(other, 1.0, 0.05, draw) for other in OTHER_LAYERS[model]]
            for where, strength, rate, draw in settings:
                planting = Planting(kind=kind, count=COUNT, rate=rate, strength=strength, draw=draw)
                known = sorted({unit for units in flagged(model, where).values() for unit in units})
                planted = plant(generator, where, planting, avoid=known)
                about = {"model": model, "layer": where, "kind": kind, "strength": strength, "rate": rate, "draw": draw}
                with tempfile.TemporaryDirectory() as folder:
                    yield from run(asked(generator, planted, known, Path(folder), methods), about, methods)


def in_weights(
    model: str, generator: Generator, kind: str, draws: Sequence[int], methods: Sequence[str]
) -> Iterator[Case]:
    """Yield the cases of plantings in the weights of five units, which change all images: no method gets help."""
    layer = MODELS[model][1]
    known = sorted({unit for units in flagged(model, layer).values() for unit in units})
    for draw in draws:
        planted = plant_weights(generator, layer, WeightPlanting(kind=kind, draw=draw), avoid=known)
        about = {"model": model, "layer": layer, "kind": kind, "strength": 1.0, "rate": 0.05, "draw": draw}
        question = Question(generator=planted.generator, layer=layer, answers={"": planted.units}, out=known)
        yield from run(question, about, methods)


def natural(model: str, generator: Generator, methods: Sequence[str]) -> Iterator[Case]:
    """Yield the cases of each layer with flags, one per reader."""
    for layer in FLAGGED[model]:
        about = {"model": model, "layer": layer, "kind": "natural", "strength": 1.0, "rate": 0.0, "draw": 0}
        yield from run(Question(generator=generator, layer=layer, answers=flagged(model, layer)), about, methods)


def asked(healthy: Generator, planted: Planted, known: Sequence[int], folder: Path, methods: Sequence[str]) -> Question:
    """Return the question for a planting, with the real and broken images that fd and defect need."""
    aid: dict[str, Any] = {}
    if set(WITH_HELP) & set(methods):
        pairs = ((planted.generator.sample(seeds), healthy.sample(seeds)) for seeds in batched(range(IMAGES)))
        changes = [(after - before).abs().mean((1, 2, 3)) for after, before in pairs]
        for seeds in batched(HEALTHY):
            for seed, pixels in zip(seeds, to_pixels(healthy.sample(seeds)), strict=True):
                Image.fromarray(pixels).save(folder / f"{seed}.png")
        aid = {"real": folder, "broken": torch.cat(changes).topk(BROKEN).indices.sort().values.tolist()}
    answers = {"": planted.units}
    return Question(generator=planted.generator, layer=planted.layer, answers=answers, out=known, help=aid)


@click.command(help=__doc__)
@click.option("--model", "models", multiple=True, type=click.Choice(list(MODELS)))
@click.option("--kind", "kinds", multiple=True, type=click.Choice([*KINDS, *WEIGHT_KINDS, "natural"]))
@click.option("--draw", "draws", multiple=True, type=int, default=(20, 21, 22), show_default=True)
@click.option(
    "--method", "methods", multiple=True, type=click.Choice([*WITHOUT_HELP, *WITH_HELP]), default=WITHOUT_HELP
)
@click.option("--wide", is_flag=True, help="Also run other layers, strengths and rates, on one more planting.")
@click.option(
    "--results", type=click.Path(path_type=Path), help="Save every case here as JSON lines, and continue from them."
)
@click.option(
    "--write", type=click.Path(exists=True, path_type=Path), help="Write the tables between the marks of this page."
)
@click.option("--mark", default="bench", show_default=True, help="The marks of the page that --write writes between.")
def main(
    models: tuple,
    kinds: tuple,
    draws: tuple,
    methods: tuple,
    wide: bool,
    results: Path | None,
    write: Path | None,
    mark: str,
) -> None:
    torch.set_num_threads(1)
    found = (
        [Case(**json.loads(line)) for line in results.read_text().splitlines()] if results and results.exists() else []
    )
    if not (found and write):
        for case in cases(models or list(MODELS), kinds or [*KINDS, *WEIGHT_KINDS, "natural"], draws, wide, methods):
            found.append(case)
            print(case, flush=True)
            if results:
                with results.open("a") as file:
                    file.write(json.dumps(asdict(case)) + "\n")
    text = "\n".join(tables(found))
    print(text)
    if write:
        replace_marked(write, mark, text)


def tables(found: Sequence[Case]) -> Iterator[str]:
    """Yield the lines of the tables: planted faults first, then natural faults."""
    natural = [case for case in found if case.kind == "natural"]
    usual = [case for case in found if case not in natural and (case.strength, case.rate) == (1.0, 0.05)]
    main_layer = [case for case in usual if case.layer in dict(MODELS.values()).values()]
    yield "| model, layer | defect | method | plantings | precision@20 | average precision | cost, in rankings |"
    yield "|---|---|---|---|---|---|---|"
    for model, kind, method in dict.fromkeys((c.model, c.kind, c.method) for c in main_layer):
        same = [c for c in main_layer if (c.model, c.kind, c.method) == (model, kind, method)]
        cost = statistics.median(c.times_ranking for c in same)
        precision, average = interval([c.precision for c in same]), interval([c.average for c in same])
        yield f"| {model}, `{same[0].layer}` | {kind} | {method} | {len(same)} | {precision} | {average} | {cost:.1f} |"
    yield f"| any | any | random order | | {COUNT / 256:.2f} expected | {COUNT / 256:.2f} expected | 0 |"
    others = [c for c in found if c not in natural and c not in main_layer and c.method == WITHOUT_HELP[0]]
    if others:
        yield f"\nOther layers, strengths and rates, one planting each, with {WITHOUT_HELP[0]}:\n"
        yield "| model | layer | defect | strength | share of images, per unit | precision@20 | average precision |"
        yield "|---|---|---|---|---|---|---|"
        for c in others:
            numbers = f"{c.precision:.2f} | {c.average:.2f}"
            yield f"| {c.model} | `{c.layer}` | {c.kind} | {c.strength:g} | {100 * c.rate:g} % | {numbers} |"
    if natural:
        methods = list(dict.fromkeys(case.method for case in natural))
        yield "\nShare of the units flagged by eye that are on the first screen (40 of 256 units):\n"
        yield f"| model, layer | flagged by | units | also by the other reader | {' | '.join(methods)} |"
        yield "|---|---|---|---|" + "---|" * len(methods)
        for model, layer, reader in dict.fromkeys((c.model, c.layer, c.flagged) for c in natural):
            by_method = {c.method: c.found for c in natural if (c.model, c.layer, c.flagged) == (model, layer, reader)}
            answers = flagged(model, layer)
            units = answers[reader]
            other = answers.get(OTHER_READER.get(reader, ""))
            agreed = f"{len({*units} & {*other}) / len(units):.2f}" if other else ""
            shares = " | ".join(f"{by_method[method]:.2f}" if method in by_method else "" for method in methods)
            where = f"{model}, `{layer}`{' (fresh)' if layer in FRESH else ''}"
            yield f"| {where} | {reader} | {len(units)} | {agreed} | {shares} |"
        yield f"| any | random order | | | {' | '.join([f'{SCREEN:.2f}'] * len(methods))} |"


def interval(values: Sequence[float]) -> str:
    """Return the mean and the range over all plantings, as text."""
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{statistics.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
