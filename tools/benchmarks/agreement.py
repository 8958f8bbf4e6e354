"""Which distance between images agrees with the true error, over many edits of `churches`.

    python -m tools.benchmarks.agreement                # measures, a few minutes of one core
    python -m tools.benchmarks.agreement --write        # and puts the table into docs/methods/evaluation.md

The edits are parts of the patch that ships, whole, at half strength, and with values on the other side of the mean, and
random sets of three layers, off or at their means. Each is applied to the images that most activate its units. The
change of their mean error to the clean scenes is compared with the change of their Fréchet distance in some features,
to drawn scenes (as to photographs) and to the typical half of the generator's own images. Reported are Spearman's rank
correlation over the edits, and how often an edit that lowers the error lowers the distance, and one that raises it
raises the distance.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import torch
from torch import Tensor

import ganpatch
from ganpatch import Edit, GanpatchError, Generator, Patch
from ganpatch.evaluation.measuring import Layers, most_active, watch_layers
from ganpatch.evaluation.references import SCENES, Compared, Reference, typical_half
from ganpatch.families.churches.targets import held_out_images, targets_of
from ganpatch.finding.frechet_distance import frechet
from ganpatch.finding.image_features import Features, load_features
from ganpatch.option_values import CHURCHES, LITE, PLAIN
from ganpatch.patch.applying import edits_applied
from tools.documentation.marked_text import write_between

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "methods" / "evaluation.md"
SEEDS = range(90_000, 90_120)
LAYERS, RANDOM_SETS, UNITS = ("layer2", "layer4", "layer6"), 6, 12


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A distance: features, and the vectors of the reference images by the name of the reference."""

    features: Features
    references: dict[str, Tensor]


def edits_to_try(layers: Layers) -> Iterator[list[Edit]]:
    """Yield edits that help, harm and do little, each a list of one edit."""
    for edit in Patch.load(ROOT / "patches" / "churches.yaml").edits:
        assert edit.value is not None
        opposite = layers.levels[edit.layer].mean[list(edit.units)] * 2 - torch.tensor(edit.value)
        yield [edit]
        yield [edit.model_copy(update={"alpha": (0.5,)})]
        yield [edit.model_copy(update={"value": tuple(opposite.tolist())})]
    source = torch.Generator().manual_seed(7)
    for number in range(RANDOM_SETS):
        layer = LAYERS[number % len(LAYERS)]
        means = layers.levels[layer].mean
        units = torch.randperm(len(means), generator=source)[:UNITS].sort().values
        value = means[units].tolist() if number >= len(LAYERS) else [0.0] * UNITS
        yield [Edit(id="random", layer=layer, channels=len(means), units=units.tolist(), value=value)]


def measures(generator: Generator, count: int) -> Iterator[Measure]:
    """Yield the distances of the features that are installed, with `count` reference images each."""
    scenes = held_out_images(range(SCENES, SCENES + count))
    for name in (PLAIN, CHURCHES, LITE):
        try:
            features = load_features(name)
        except GanpatchError as fault:
            click.echo(f"{name} is left out: {fault}", err=True)
            continue
        own: Reference = typical_half(generator, Compared(features=features, count=2 * count))
        yield Measure(
            features=features, references={"drawn scenes": features.vectors(scenes), "typical half": own.vectors}
        )


@torch.inference_mode()
def changes(generator: Generator, found: Sequence[Measure]) -> dict[str, list[float]]:
    """Return the relative change of the error, and of each distance, of every edit."""
    layers, target = watch_layers(generator, set(LAYERS), SEEDS), targets_of(generator)
    made: dict[str, list[float]] = {}
    for edits in edits_to_try(layers):
        peaks = {edit.layer: layers.peaks[edit.layer] for edit in edits}
        seeds = [SEEDS[row] for row in most_active(peaks, edits).tolist()]
        before, right = generator.sample(seeds), target(seeds)
        with edits_applied(generator.module, edits):
            after = generator.sample(seeds)
        made.setdefault("error", []).append(_relative(*((images - right).abs().mean() for images in (before, after))))
        for measure in found:
            vectors = [measure.features.vectors(images).double() for images in (before, after)]
            for name, reference in measure.references.items():
                pair = (frechet(each, reference.double()) for each in vectors)
                made.setdefault(f"{measure.features.name} | {name}", []).append(_relative(*pair))
    return made


def _relative(before: Tensor, after: Tensor) -> float:
    return float((after - before) / before)


def table(made: dict[str, list[float]]) -> str:
    """Return the agreement of each distance with the error as a Markdown table."""
    truth = torch.tensor(made["error"])
    lower, higher = truth < -0.01, truth > 0.01
    heads = (f"{int(lower.sum())} repairs lower it", f"{int(higher.sum())} harms raise it")
    rows = [f"| features | reference | rank correlation | {' | '.join(heads)} |", "|---|---|---|---|---|"]
    for name, values in made.items():
        if name != "error":
            found = torch.tensor(values)
            correlation = float(torch.stack([_ranks(found), _ranks(truth)]).corrcoef()[0, 1])
            hits = (int((found[lower] < 0).sum()), int((found[higher] > 0).sum()))
            rows.append(f"| {name} | {correlation:.2f} | {hits[0]} | {hits[1]} |")
    return "\n".join([*rows, ""])


def _ranks(values: Tensor) -> Tensor:
    return values.argsort().argsort().double()


@click.command()
@click.option("--references", default=100, show_default=True, help="Images of each reference.")
@click.option("--write", is_flag=True, help="Put the table into docs/methods/evaluation.md.")
def main(references: int, write: bool) -> None:
    torch.set_flush_denormal(True)
    generator = ganpatch.load("churches")
    text = table(changes(generator, list(measures(generator, references))))
    print(text)
    if write:
        write_between(PAGE, "agreement", text)


if __name__ == "__main__":
    main()
