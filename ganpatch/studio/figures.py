"""Quality figures of the patch: results of `ganpatch evaluate`, stored with the version of the patch.

    figure = measured(generator, patch, Wish(features="plain", images=500), folder)
    figures(folder)                         # the stored figures, the newest first

Each figure is two files in figures/ of the session: the figure, and its full report as a page.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ganpatch.disk.atomic_files import file_name
from ganpatch.disk.json_files import Section, read_section, write_section
from ganpatch.errors import GanpatchError
from ganpatch.forward.activations import Progress
from ganpatch.generator.generator import Generator
from ganpatch.option_values import EVALUATION_SEEDS, FEWEST_IMAGES, PLAIN
from ganpatch.patch.patch_file import Patch

if TYPE_CHECKING:
    from ganpatch.evaluation.verdict import Change

FEATURES = r"^(plain|churches|inception|torchvision:[a-z0-9_]{1,60})$"
_LARGEST = 1_000_000


class Wish(Section):
    """What a figure is to be measured with: no more than names of features that come with ganpatch, no code."""

    features: Annotated[str, Field(pattern=FEATURES)] = PLAIN
    images: Annotated[int, Field(ge=FEWEST_IMAGES)] = 500


class Score(Section):
    """The score of some of the images, before and after the patch."""

    before: float
    after: float


class Figure(Section):
    """The verdict on a patch and its scores.

    `patch` is the digest of its edits, `report` the file name of the whole page, `baselines` the relative changes of
    the score of random-unit baselines, each on its own most active images.
    """

    patch: str
    edits: int
    units: int
    features: str
    score: str
    images: int
    reference: str
    answer: str
    verdict: str
    most: Score
    all: Score
    baselines: tuple[float, ...]
    report: str
    created: str


def measured(
    generator: Generator, patch: Patch, wish: Wish, folder: Path, *, real: Path | None, progress: Progress
) -> Figure:
    """Measure a patch and keep the figure and its report in `folder`."""
    from ganpatch.evaluation.evaluator import Choices, evaluate  # the server only lists figures; a child measures
    from ganpatch.evaluation.report import write_evaluation
    from ganpatch.finding.image_features import load_features

    seeds = range(EVALUATION_SEEDS.start, EVALUATION_SEEDS.start + wish.images)
    choices = Choices(seeds=seeds, real=real, references=wish.images, features=load_features(wish.features))
    found = evaluate(generator, patch, choices, progress=progress)
    name = f"{patch.digest.removeprefix('sha256:')[:12]}-{file_name(wish.features)}-{wish.images}"
    write_evaluation(found, folder / f"{name}.html")
    figure = Figure(
        patch=patch.digest,
        edits=len(patch.edits),
        units=sum(len(edit.units) for edit in patch.edits),
        features=wish.features,
        score=found.found.score,
        images=wish.images,
        reference=found.reference.description,
        answer=found.verdict.answer,
        verdict=found.verdict.sentence,
        most=_score(found.found.most),
        all=_score(found.found.all),
        baselines=tuple(_short(one.relative) for one in found.baselines),
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


def _score(change: "Change") -> Score:
    return Score(before=_short(change.before), after=_short(change.after))


def _short(number: float) -> float:
    return float(f"{number:.4g}")
