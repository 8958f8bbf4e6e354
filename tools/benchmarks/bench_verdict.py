"""How often the verdict of `ganpatch evaluate` is right: random sets, idle patches, harm, and true repairs.

    python -m tools.benchmarks.bench_verdict                            # what is not yet measured; hours on one core
    python -m tools.benchmarks.bench_verdict --only churches --tries 5  # few of them
    python -m tools.benchmarks.bench_verdict --show --write             # the table, into docs/methods/evaluation.md

| patches | what they are | wanted |
|---|---|---|
| random | 20 random units of one layer, switched off or, every second set, held at their means | not better |
| idle | the same units, with an `above` that no activation exceeds | no change |
| main object | the 20 units of a layer whose absence changes the images most | worse |
| learned | units that draw faults which `churches` learned: parts of its patch, other layers, other seeds | better |
| planted | units into which defects were planted (planting.py), held at the level where those begin | better |

Answers are kept in runs/bench_verdict.json after each try.
"""

import functools
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click
import torch
from PIL import Image

import ganpatch
from ganpatch import Edit, Generator, Patch
from ganpatch.evaluation.evaluator import Choices
from ganpatch.evaluation.measuring import watch_layers
from ganpatch.evaluation.verdict import COUNTS, Change, Measured, judge_change
from ganpatch.families.churches.scenes import draw_slots
from ganpatch.finding.image_features import load_features
from ganpatch.finding.unit_sets import image_levels, units_of_fault
from ganpatch.graph.remainder import Remainder
from ganpatch.option_values import BASELINES
from ganpatch.patch.patch_file import Model
from tests.support.nets import loaded_net
from tools.benchmarks.planting import KINDS, Planting, image_peaks, plant
from tools.documentation.marked_text import write_between
from tools.patches.fetch_faces import FACES

ROOT = Path(__file__).resolve().parents[2]
KEPT, PAGE = ROOT / "runs" / "bench_verdict.json", ROOT / "docs" / "methods" / "evaluation.md"
LOOKED_AT = range(40_000, 40_600)  # seeds from which repairs are made
SEEDS = 120
UNITS = 20
WANTED = {"random": "not better", "idle": "no change", "main object": "worse", "learned": "better", "planted": "better"}
TRIES = {"random": 40, "idle": 3, "main object": 6, "learned": 20, "planted": 20}


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A generator, the layers whose units are edited, how many at once, and the seeds of its photographs, if any.

    The photographs of a generator are its own images of other seeds: then no edit at all is an improvement.
    """

    load: Callable[[], Generator]
    layers: tuple[str, ...]
    units: int = UNITS
    photographs: range | None = None
    kinds: tuple[str, ...] = ("random", "idle", "main object")


@dataclass(frozen=True, kw_only=True)
class Try:
    """One patch, with the generator that it is of; a repair is evaluated with its baselines at once."""

    generator: Generator
    edits: Sequence[Edit]
    is_repair: bool = False


SUBJECTS = {
    "churches, right images known": Subject(
        load=lambda: ganpatch.load("churches"), layers=("layer2", "layer4", "layer6"), kinds=tuple(WANTED)
    ),
    "face DCGAN, no real images": Subject(
        load=lambda: ganpatch.load(str(FACES)), layers=("main.2", "main.5", "main.8")
    ),
    "face DCGAN, its own images as real ones": Subject(
        load=lambda: ganpatch.load(str(FACES)), layers=("main.2", "main.5", "main.8"), photographs=range(80_000, 80_300)
    ),
    "random DCGAN, its own images as real ones": Subject(
        load=lambda: loaded_net("dcgan"), layers=("main.2", "main.5"), units=2, photographs=range(80_000, 80_300)
    ),
}


def random_try(generator: Generator, subject: Subject, number: int, **fields: float) -> Try:
    """Return random units of one layer: switched off, or every second time held at their means."""
    layer = subject.layers[number % len(subject.layers)]
    levels = watch_layers(generator, {layer}, range(128)).levels[layer].mean
    source = torch.Generator().manual_seed(10_000 + number)
    units = torch.randperm(len(levels), generator=source)[: subject.units].sort().values
    values = levels[units].tolist() if number % 2 else 0.0
    return Try(generator=generator, edits=[_edit(layer, len(levels), units.tolist(), value=values, **fields)])


def idle_try(generator: Generator, subject: Subject, number: int) -> Try:
    return random_try(generator, subject, number, above=1e6)


def main_object_try(generator: Generator, subject: Subject, number: int) -> Try:
    """Return the units of a layer that change the images most when they are switched off."""
    layer = subject.layers[number % len(subject.layers)]
    remainder = Remainder.of(generator, layer)
    first = range(50_000 + 4 * number, 50_004 + 4 * number)
    prefix = remainder.prefix(first)
    with torch.inference_mode():
        before = remainder(prefix, lambda y: y)
        channels = prefix.activation.shape[1]
        change = [float((remainder(prefix, _without(unit)) - before).abs().mean()) for unit in range(channels)]
    units = torch.tensor(change).topk(subject.units).indices.sort().values.tolist()
    return Try(generator=generator, edits=[_edit(layer, channels, units)])


def learned_try(generator: Generator, _subject: Subject, number: int) -> Try:
    """Return a repair of faults that the generator learned, from its patch or made on other seeds."""
    edits = Patch.load(ROOT / "patches" / "churches.yaml").edits
    if number < len(edits):
        return Try(generator=generator, edits=[edits[number]], is_repair=True)
    if number < 2 * len(edits):
        source = torch.Generator().manual_seed(number)
        some = torch.randperm(len(edits), generator=source)[: 2 + number % 3].sort().values.tolist()
        return Try(generator=generator, edits=[edits[place] for place in some], is_repair=True)
    return _found_again(generator, ("layer1", "layer2", "layer3")[number % 3], number)


def _found_again(generator: Generator, layer: str, number: int) -> Try:
    """Return the units of a layer that shift most with one kind of fault, on seeds that depend on `number`."""
    seeds = range(LOOKED_AT.start + 1000 * number, LOOKED_AT.stop + 1000 * number)
    latents, *_ = generator.inputs_of(seeds)
    faults = [draw_slots(latent.numpy()).faults for latent in latents]
    kinds = sorted({name for each in faults for name in each})
    kind = kinds[number % len(kinds)]
    broken = [seed for seed, each in zip(seeds, faults, strict=True) if kind in each]
    found = units_of_fault(image_levels(generator, [layer], seeds)[layer], broken=broken, seeds=seeds, count=8)
    return Try(generator=generator, edits=[found.edit("found", layer, kind)], is_repair=True)


def planted_try(generator: Generator, _subject: Subject, number: int) -> Try:
    """Return units that draw a planted defect, held at the level where it begins."""
    planting = Planting(kind=KINDS[number % len(KINDS)], count=UNITS, draw=100 + number)
    layer = ("layer2", "layer4")[number // len(KINDS) % 2]
    planted = plant(generator, layer, planting, peaks=_peaks(layer))
    order = sorted(range(UNITS), key=planted.units.__getitem__)
    levels = [float(planted.generator.module.defects.above[place]) for place in order]
    units = [planted.units[place] for place in order]
    edits = [_edit(planted.layer, 256, units, value=levels, above=levels)]
    return Try(generator=planted.generator, edits=edits, is_repair=True)


@functools.cache
def _peaks(layer: str) -> torch.Tensor:
    return image_peaks(ganpatch.load("churches"), layer)


MAKERS: dict[str, Callable[[Generator, Subject, int], Try]] = {
    "random": random_try,
    "idle": idle_try,
    "main object": main_object_try,
    "learned": learned_try,
    "planted": planted_try,
}


def _without(unit: int) -> Callable[[torch.Tensor], torch.Tensor]:
    def change(y: torch.Tensor) -> torch.Tensor:
        y = y.clone()
        y[:, unit] = 0
        return y

    return change


def _edit(layer: str, channels: int, units: Sequence[int], **fields: object) -> Edit:
    return Edit(id="bench", layer=layer, channels=channels, units=units, **fields)  # type: ignore[arg-type]


def verdict_of(made: Try, number: int, real: Path | None) -> dict[str, Any]:
    """Evaluate one patch as a user does, on seeds that depend on its number.

    A patch that lowers no score cannot be better, whatever its baselines do; it is evaluated without them.
    """
    generator = made.generator
    patch = Patch(name="bench", model=Model.of(generator.name, generator.fingerprint), edits=made.edits)
    first = 20_000 + SEEDS * number
    choices = Choices(
        seeds=range(first, first + SEEDS), references=2 * SEEDS, real=real, features=load_features(), baselines=0
    )
    found = ganpatch.evaluate(generator, patch, replace(choices, baselines=BASELINES if made.is_repair else 0))
    if not made.is_repair and found.found.most.relative <= -COUNTS:
        found = ganpatch.evaluate(generator, patch, replace(choices, baselines=BASELINES))
    return {"sentence": found.verdict.sentence, "answer": found.verdict.answer, "measured": asdict(found.found)}


def missing(kept: dict[str, Any], only: str, tries: int) -> Iterator[tuple[str, str, int]]:
    """Yield what is not measured: subject, kind and number, in turns over the kinds."""
    for number in range(min(tries, max(TRIES.values()))):
        for name, subject in SUBJECTS.items():
            for kind in subject.kinds:
                if only in f"{name}/{kind}" and number < TRIES[kind] and f"{name}/{kind}/{number}" not in kept:
                    yield name, kind, number


def photographs(name: str, generator: Generator, seeds: range) -> Path:
    """Draw the images of `seeds` into a folder, once."""
    folder = KEPT.parent / "verdict" / name.replace(" ", "-").replace(",", "")
    if not folder.exists():
        folder.mkdir(parents=True)
        for seed, pixels in zip(seeds, ganpatch.Sample(generator, seeds).pixels(), strict=True):
            Image.fromarray(pixels).save(folder / f"{seed}.png")
    return folder


def answer_of(found: dict[str, Any]) -> str:
    """Return the answer to what was measured, by the rules as they are now."""
    if "measured" not in found:
        return str(found["answer"])
    fields = found["measured"]
    changes = {name: Change(**fields[name]) for name in ("most", "all", "fine", "precision", "recall")}
    if fields.get("coverage"):
        changes["coverage"] = Change(**fields["coverage"])
    baselines = [Change(**one) for one in fields["baselines"]]
    return judge_change(Measured(**{**fields, **changes, "baselines": baselines})).answer


def table(kept: dict[str, Any]) -> str:
    """Return the answers as a Markdown table: per generator and kind of patches, how many were as wanted."""
    rows = ["| generator | patches | wanted | right | answers |", "|---|---|---|---|---|"]
    for name, subject in SUBJECTS.items():
        for kind in subject.kinds:
            answers = [answer_of(found) for key, found in kept.items() if key.startswith(f"{name}/{kind}/")]
            if answers:
                right = sum((answer == WANTED[kind]) or (kind == "random" and answer != "better") for answer in answers)
                counts = ", ".join(f"{count} {answer}" for answer, count in Counter(answers).most_common())
                rows.append(f"| {name} | {kind} | {WANTED[kind]} | {right} of {len(answers)} | {counts} |")
    return "\n".join([*rows, ""])


@click.command()
@click.option("--only", default="", help="Part of 'generator/patches', as 'churches' or 'churches, right/planted'.")
@click.option("--tries", default=40, show_default=True, help="Patches of each kind, at most.")
@click.option("--show", is_flag=True, help="Measure nothing, show what is kept.")
@click.option("--write", is_flag=True, help="Put the table into docs/methods/evaluation.md.")
def main(only: str, tries: int, show: bool, write: bool) -> None:
    torch.set_flush_denormal(True)
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    generators: dict[str, Generator] = {}
    for name, kind, number in () if show else list(missing(kept, only, tries)):
        subject = SUBJECTS[name]
        generator = generators.setdefault(name, subject.load())
        real = photographs(name, generator, subject.photographs) if subject.photographs else None
        kept[f"{name}/{kind}/{number}"] = found = verdict_of(MAKERS[kind](generator, subject, number), number, real)
        KEPT.write_text(json.dumps(kept, indent=1))
        click.echo(f"{name}/{kind}/{number}: {found['sentence']}", err=True)
    print(table(kept))
    if write:
        write_between(PAGE, "verdict", table(kept))


if __name__ == "__main__":
    main()
