"""Quality figures of the patch: what `ganpatch evaluate` found, kept with the version of the patch that it is of.

figure = measured(generator, patch, Wish(features="plain", images=500), folder)
figures(folder)                         # those kept, the newest first

Each is two files of the session's figures/: the figure, and its whole report as a page.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ganpatch.disk.atomic_files import file_name
from ganpatch.disk.json_files import Section, read_section, write_section
from ganpatch.errors import GanpatchError
from ganpatch.evaluation.evaluator import SEEDS, Choices, Evaluation, evaluate
from ganpatch.evaluation.report import write_evaluation
from ganpatch.finding.image_features import PLAIN, load_features
from ganpatch.forward.activations import Progress
from ganpatch.generator.generator import Generator
from ganpatch.patch.patch_file import Patch

FEATURES = r"^(plain|churches|inception|torchvision:[a-z0-9_]{1,60})$"
FEWEST = 40  # images: distances of a quarter of them need ten
_LARGEST = 1_000_000


class Wish(Section):
    """What a figure is to be measured with: no more than names of features that come with ganpatch, no code."""

    features: Annotated[str, Field(pattern=FEATURES)] = PLAIN
    images: Annotated[int, Field(ge=FEWEST)] = 500


class Distance(Section):
    """A Fréchet distance of some of the images: without the patch, with it, with as many random units."""

    before: float
    after: float
    random: tuple[float, ...]


class Figure(Section):
    """How good the images of a patch are; `patch` is the digest of its edits, `report` the name of the whole page."""

    patch: str
    edits: int
    units: int
    features: str
    distance: str
    images: int
    reference: str
    verdict: str
    is_better: bool
    most: Distance
    all: Distance
    report: str
    created: str


def measured(
    generator: Generator, patch: Patch, wish: Wish, folder: Path, *, real: Path | None, progress: Progress
) -> Figure:
    """Measure a patch and keep the figure and its report in `folder`."""
    seeds = range(SEEDS.start, SEEDS.start + wish.images)
    choices = Choices(seeds=seeds, real=real, references=wish.images, features=load_features(wish.features))
    found = evaluate(generator, patch, choices, progress=progress)
    name = f"{patch.digest.removeprefix('sha256:')[:12]}-{file_name(wish.features)}-{wish.images}"
    write_evaluation(found, folder / f"{name}.html")
    figure = Figure(
        patch=patch.digest,
        edits=len(patch.edits),
        units=sum(len(edit.units) for edit in patch.edits),
        features=wish.features,
        distance=choices.features.distance_name,
        images=wish.images,
        reference=found.reference,
        verdict=found.verdict,
        is_better=found.is_better,
        most=_distance(found, "most"),
        all=_distance(found, "all"),
        report=f"{name}.html",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    write_section(folder / f"{name}.json", figure)
    return figure


def figures(folder: Path) -> list[Figure]:
    """Read the figures that are kept, the newest first; broken files are passed over."""
    found = []
    for path in folder.glob("*.json"):
        try:
            found.append(read_section(path, Figure, limit=_LARGEST))
        except GanpatchError:
            continue
    return sorted(found, key=lambda figure: figure.created, reverse=True)


def _distance(found: Evaluation, where: str) -> Distance:
    return Distance(
        before=_short(found.before[where].frechet),
        after=_short(found.after[where].frechet),
        random=tuple(_short(one.frechet) for one in found.random[where]),
    )


def _short(number: float) -> float:
    return float(f"{number:.4g}")
