"""Do suggested sets take away the faults that the bundled generator learned? Nothing but the images is searched.

    python -m tools.benchmarks.bench_sets                       # about three minutes of one core
    python -m tools.benchmarks.bench_sets --write docs/finding.md
    python -m tools.benchmarks.bench_sets --run run             # the sets of a ranking of seeds 0-999, not a new search
    python -m tools.benchmarks.bench_sets --units               # also the last column; four minutes more

`suggest --by sets` runs blind on seeds 0-999. For every kind of fault the answer is known (tools/patches/truth.py): a
set belongs to a kind if most of its images are described with it, as a person who looks at them would see. Figures are
of seeds 10000-10599: the share of images in which the fault is visible, and the error to the clean scene of images
without a fault, before, after, and for random units of the same layer.

With --units, the last column asks whether the units are the right ones: of the 20 units of the set's layer that draw
the fault most, by causal effect (each alone held at its mean, the mean fall of the fault's strength in eight images
with it), the share that is among the 40 that shift most in the set's images.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import torch

import ganpatch
from ganpatch import Edit, Generator, UnitSet
from ganpatch.evaluation.baselines import random_edits
from ganpatch.evaluation.measuring import watch_layers
from ganpatch.families.churches.faults import FAULTS
from ganpatch.families.churches.scenes import Scene, draw_slots
from ganpatch.finding.set_search import suggest_sets
from ganpatch.finding.suggestions import read_sets
from ganpatch.finding.task import Task
from ganpatch.finding.unit_sets import image_levels, units_of_fault
from ganpatch.forward.activations import batched
from ganpatch.graph.prefix import Change
from ganpatch.graph.remainder import Remainder
from ganpatch.ranking.ranker import rank
from ganpatch.ranking.result import read_manifest
from tools.benchmarks.marked_text import replace_marked
from tools.patches.truth import NONE, Truth, chosen_seeds, compare_with_truth
from tools.training.church_measures import fault_strengths

SEARCHED, MEASURED = range(1000), range(10_000, 10_600)
DRAWS, SHOWN, DRAWN_MOST, SCREEN = 2, 8, 20, 40


@dataclass(frozen=True, kw_only=True)
class Search:
    """The sets found, what each shows, and what they cost in rankings, where that was measured."""

    sets: Sequence[UnitSet]
    kinds: Sequence[str]
    cost: float | None = None

    def of(self, kind: str) -> dict[int, UnitSet]:
        """Return the sets of a kind of fault by their place."""
        return {place: one for place, (one, of) in enumerate(zip(self.sets, self.kinds, strict=True), 1) if of == kind}


def searched(generator: Generator) -> Search:
    """Run the search, and name what most images of each set are described with."""
    started = time.process_time()
    ranking = rank(generator, seeds=SEARCHED)
    ranked_in = time.process_time() - started
    sets = suggest_sets(Task(generator=generator, ranking=ranking))
    cost = (time.process_time() - started - ranked_in) / ranked_in
    return Search(sets=sets, kinds=[kind_of(generator, one) for one in sets], cost=cost)


def kept(generator: Generator, run: Path) -> Search:
    """Return the sets that were suggested for a run."""
    sets = read_sets(run, read_manifest(run))
    return Search(sets=sets, kinds=[kind_of(generator, one) for one in sets])


def kind_of(generator: Generator, one: UnitSet) -> str:
    """Return the fault that is described in the most images of a set, if it is in a third of them."""
    described = scenes(generator, one.images)
    counts = {kind: sum(kind in scene.faults for scene in described) for kind in FAULTS}
    kind = max(counts, key=lambda name: counts[name])
    return kind if 3 * counts[kind] >= len(described) else NONE


def scenes(generator: Generator, seeds: Sequence[int]) -> list[Scene]:
    """Return the scenes that seeds describe."""
    return [draw_slots(latent.numpy()) for part in batched(seeds) for latent in generator.inputs_of(part)[0]]


def edits_of(sets: Sequence[UnitSet]) -> list[Edit]:
    """Return the edits of sets, each unit once."""
    edits: list[Edit] = []
    for one in sets:
        taken = {unit for edit in edits if edit.layer == one.layer for unit in edit.units}
        if not taken.issuperset(one.units):
            edits.append(one.edit(taken))
    return edits


def units_found(generator: Generator, kind: str, one: UnitSet) -> float:
    """Return the share of the units that draw a fault most which are on the first screen of a set's layer."""
    levels = image_levels(generator, [one.layer], SEARCHED)[one.layer]
    screen = units_of_fault(levels, broken=one.images, seeds=SEARCHED, count=SCREEN).units
    effects = causal_effects(generator, kind, one.layer, levels.mean(0))
    return len({*screen} & {*effects.topk(DRAWN_MOST).indices.tolist()}) / DRAWN_MOST


@torch.no_grad()
def causal_effects(generator: Generator, kind: str, layer: str, means: torch.Tensor) -> torch.Tensor:
    """Return by how much the strength of a fault falls when one unit of a layer alone is held at its mean [C]."""
    seeds = [seed for seed in chosen_seeds(generator, MEASURED) if kind in scenes(generator, [seed])[0].faults][:SHOWN]
    described, remainder = scenes(generator, seeds), Remainder.of(generator, layer)
    prefix = remainder.prefix(seeds)

    def strength(images: torch.Tensor) -> float:
        pixels = images.permute(0, 2, 3, 1).mul(255).double().numpy()
        found = [fault_strengths(*pair)[kind] for pair in zip(pixels, described, strict=True)]
        return sum(found) / len(found)

    whole = strength(remainder(prefix, lambda y: y))
    held = [strength(remainder(prefix, holding(unit, float(means[unit])))) for unit in range(len(means))]
    return torch.tensor([whole - left for left in held])


def holding(unit: int, value: float) -> Change:
    """Return a function that replaces one unit of an activation by a value."""

    def change(y: torch.Tensor) -> torch.Tensor:
        y = y.clone()
        y[:, unit] = value
        return y

    return change


def table(generator: Generator, search: Search, *, units: bool) -> Iterator[str]:
    """Yield the figures as lines of Markdown, with `units` also whether the units are the right ones."""
    seeds = chosen_seeds(generator, MEASURED)
    before = compare_with_truth(generator, (), seeds)
    levels = watch_layers(generator, {one.layer for one in search.sets}, range(256)).levels
    cost = f" in {search.cost:.1f} rankings" if search.cost is not None else ""
    yield f"Sets found{cost}, by place: {', '.join(search.kinds)}.\n"
    head = ["fault", "sets", "units", "visible", "random units", "error without a fault", "random units"]
    head += ["units found"] if units else []
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    chosen: list[UnitSet] = []
    for kind in FAULTS:
        own = search.of(kind)
        chosen += own.values()
        found = f"{units_found(generator, kind, next(iter(own.values()))):.2f}" if own and units else None
        yield row(generator, kind, own, before, (seeds, levels), found)
    yield row(generator, "all of these", dict(enumerate(chosen, 1)), before, (seeds, levels), None)


def row(
    generator: Generator,
    kind: str,
    own: Mapping[int, UnitSet],
    before: Mapping[str, Truth],
    on: tuple[Sequence[int], Mapping[str, torch.Tensor]],
    found: str | None,
) -> str:
    """Return one row of the table: what the sets of a kind do, and what random units do."""
    last = "" if found is None else f" {found} |"
    if not own:
        return f"| {kind} | none | | | | | |{last}"
    (seeds, levels), edits = on, edits_of(list(own.values()))
    after = compare_with_truth(generator, edits, seeds)
    random = [compare_with_truth(generator, random_edits(edits, levels, number), seeds) for number in range(DRAWS)]
    kinds = [kind] if kind in FAULTS else list(FAULTS)
    visible = [f"{visible_of(before, kinds):.0%} to {visible_of(after, kinds):.0%}"]
    visible.append(", ".join(f"{visible_of(other, kinds):.0%}" for other in random))
    clean = before[NONE].outside
    errors = [f"{after[NONE].outside / clean - 1:+.1%}"]
    errors.append(", ".join(f"{other[NONE].outside / clean - 1:+.1%}" for other in random))
    name = ", ".join(f"set-{place}" for place in own) if kind in FAULTS else ""
    units = sum(len(edit.units) for edit in edits)
    return f"| {kind} | {name} | {units} | {' | '.join([*visible, *errors])} |{last}"


def visible_of(truth: Mapping[str, Truth], kinds: Sequence[str]) -> float:
    """Return the share of images in which a fault is visible, over kinds of faults."""
    return sum(truth[kind].visible * truth[kind].images for kind in kinds) / sum(truth[kind].images for kind in kinds)


@click.command(help=__doc__)
@click.option(
    "--write", type=click.Path(exists=True, path_type=Path), help="Write the table between the marks of this page."
)
@click.option("--run", type=click.Path(exists=True, path_type=Path), help="Take the sets of this run folder.")
@click.option("--units", is_flag=True, help="Also compare the units with those that draw the fault most.")
def main(write: Path | None, run: Path | None, *, units: bool) -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    lines = []
    generator = ganpatch.load("churches")
    search = searched(generator) if run is None else kept(generator, run)
    for line in table(generator, search, units=units):
        print(line, flush=True)
        lines.append(line)
    if write:
        replace_marked(write, "sets", "\n".join(lines))


if __name__ == "__main__":
    main()
