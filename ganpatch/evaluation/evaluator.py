"""Measure whether a patch improves a generator, compared with no patch and with random-unit baselines.

    evaluation = evaluate(generator, patch)
    evaluation.verdict.answer               # "better", "mixed", "no change", "not shown", "worse"; or "more typical"
    evaluation.verdict.sentence
    evaluation.record()                     # for the patch file

The patch is scored on all images, on those that most activate its units (a fifth, at most 100), and on the half that
activates them least: those images were fine. Each baseline is scored on as many images that most activate its own
units, and draws only these. The seeds are not those that the patch was chosen on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganpatch.errors import GanpatchError
from ganpatch.evaluation.baselines import random_edits
from ganpatch.evaluation.judging import preferred_by_eye
from ganpatch.evaluation.measuring import (
    Observed,
    Plan,
    activity_of,
    least_active,
    most_active,
    most_count,
    observe_both,
    score_of_rows,
)
from ganpatch.evaluation.metrics import Damage, Distances, distances, perceptual_distance
from ganpatch.evaluation.references import Compared, Reference, choose_reference
from ganpatch.evaluation.verdict import Change, Measured, Verdict, judge_change
from ganpatch.finding.image_features import Features, load_features
from ganpatch.forward.activations import Progress, unseen
from ganpatch.generator.generator import Generator
from ganpatch.html_tables import html_table
from ganpatch.number_ranges import format_spans
from ganpatch.option_values import BASELINES, EVALUATION_SEEDS, FEWEST_IMAGES
from ganpatch.pages.image_grids import Pixels
from ganpatch.patch.applying import applied
from ganpatch.patch.evidence import Figure, Record
from ganpatch.patch.patch_file import Patch

SEEDS = EVALUATION_SEEDS
_UNKNOWN = "The patch does not say on which seeds its units were chosen; if they are among these, the result is biased."


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """How to evaluate: on which `seeds`, against what, and with how many random-unit `baselines`."""

    seeds: Sequence[int] = SEEDS
    real: Path | None = None
    targets: Path | None = None
    references: int = 1000
    features: Features
    baselines: int = BASELINES
    lpips: bool = False
    allow_other_weights: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What was measured. `before` and `after` hold distances of "all" images and of the "most" active ones.

    `baselines` are the changes of the score of each baseline's own most active images; `fine` describes the change of
    the half of the images that activates the units least; `activity` [N] is how much each image activates them.
    `likeness` holds PSNR, SSIM and LPIPS to the right images, before and after, where these are known.
    """

    patch: Patch
    choices: Choices
    reference: Reference
    verdict: Verdict
    found: Measured
    before: Mapping[str, Distances]
    after: Mapping[str, Distances]
    fine: Mapping[str, float]
    damage: Damage
    activity: Tensor
    pictures: tuple[Pixels, Pixels]
    likeness: Mapping[str, tuple[Mapping[str, float], Mapping[str, float]]] = field(default_factory=dict)

    @property
    def baselines(self) -> Sequence[Change]:
        """The change of the score with each set of random units, on its own most active images."""
        return self.found.baselines

    @property
    def is_better(self) -> bool:
        """Whether the verdict is "better"."""
        return self.verdict.answer == "better"

    @property
    def words(self) -> str:
        """The sentence of the verdict, and what to keep in mind if the patch says nothing of its choice."""
        unknown = "" if self.patch.evidence.chosen_seeds() else f" {_UNKNOWN}"
        return f"{self.verdict.sentence}{unknown}"

    def _repr_html_(self) -> str:
        changes = {name: getattr(self.found, name) for name in ("most", "all", "fine")}
        rows = [
            (f"{name} images", f"{one.before:.4g}", f"{one.after:.4g}", f"{one.relative:+.1%}")
            for name, one in changes.items()
        ]
        return html_table([self.found.score, "before", "after", "change"], rows, title=self.verdict.sentence)

    def record(self) -> Record:
        """Return the figures as a record for the evidence of the patch."""
        found, names = self.found, ("most", "all", "fine")
        scores = {f"{name}_score": _figure(getattr(found, name), found.score) for name in names}
        return Record(
            made_by="ganpatch evaluate",
            measured_on=format_spans(self.choices.seeds),
            reference=self.reference.description,
            baselines=len(found.baselines),
            settings={"features": self.choices.features.name, "score": found.score},
            figures={**scores, **self._tests(), **self._distances(), **self._likeness(), **self._kept()},
            answer=self.verdict.answer,
            note=self.verdict.sentence,
        )

    def _tests(self) -> dict[str, Figure]:
        """Return the change of the score beside that of the baselines, and the p-value."""
        changes = tuple(_short(one.relative) for one in self.found.baselines)
        change = Figure(what="relative change", value=_short(self.found.most.relative), random=changes)
        p_value = self.verdict.p_value
        return {"most_change": change} | ({} if p_value is None else {"p_value": Figure(value=float(f"{p_value:.3g}"))})

    def _distances(self) -> dict[str, Figure]:
        return {
            f"{where}_{name}": Figure(before=before, after=self.after[where].rounded()[name])
            for where in ("most", "all")
            for name, before in self.before[where].rounded().items()
        }

    def _likeness(self) -> dict[str, Figure]:
        return {
            f"{where}_{name}": Figure(what="to the right images", before=value, after=after[name])
            for where, (before, after) in self.likeness.items()
            for name, value in before.items()
        }

    def _kept(self) -> dict[str, Figure]:
        return {f"fine_{name}": Figure(value=value) for name, value in self.fine.items()}


def evaluate(
    generator: Generator, patch: Patch, choices: Choices | None = None, *, progress: Progress = unseen
) -> Evaluation:
    """Measure `generator` before and after `patch`, and with random units edited instead.

    Raises GanpatchError when the seeds are those that the patch was chosen on, or too few.
    """
    choices = _each_once(generator, choices or Choices(features=load_features()))
    _refuse_seeds(generator, patch, choices.seeds)
    with applied(generator.module, patch, allow_other_weights=choices.allow_other_weights):
        pass
    compared = Compared(features=choices.features, real=choices.real, targets=choices.targets, count=choices.references)
    reference = choose_reference(generator, compared)
    plan = _plan(choices, progress)
    observed = observe_both(generator, patch.edits, reference, plan)
    baselines = _baselines(generator, patch, observed, reference, plan, choices.baselines)
    rows = {"all": torch.arange(len(choices.seeds)), "most": most_active(observed.layers.peaks, patch.edits)}
    before, after = (
        {name: distances(sample.vectors[row], reference.vectors) for name, row in rows.items()}
        for sample in (observed.before, observed.after)
    )
    rows["fine"] = least_active(observed.layers.peaks, patch.edits)
    found = Measured(
        score=_score_name(reference, choices.features),
        is_independent=reference.is_independent,
        baselines=baselines,
        precision=Change(before=before["all"].precision, after=after["all"].precision),
        recall=Change(before=before["all"].recall, after=after["all"].recall),
        coverage=Change(before=before["all"].coverage, after=after["all"].coverage),
        judged=preferred_by_eye(patch.evidence),
        is_paired=reference.targets is not None,
        **_changes(observed, reference, rows),
    )
    return Evaluation(
        patch=patch,
        choices=choices,
        reference=reference,
        verdict=judge_change(found),
        found=found,
        before=before,
        after=after,
        fine=observed.damage.of(rows["fine"]),
        damage=observed.damage,
        activity=activity_of(observed.layers.peaks, patch.edits),
        pictures=observed.pictures,
        likeness={name: _likeness(observed, rows[name]) for name in before if observed.before.likeness is not None},
    )


def _each_once(generator: Generator, choices: Choices) -> Choices:
    """Return the choices with no more seeds than there are different inputs."""
    count = generator.latent.count
    return choices if count is None or len(choices.seeds) <= count else replace(choices, seeds=choices.seeds[:count])


def _likeness(observed: Observed, rows: Tensor) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """Return PSNR, SSIM and LPIPS to the right images of `rows`, before and after."""
    found = []
    for sample in (observed.before, observed.after):
        assert sample.likeness is not None
        found.append({name: value for name, value in sample.likeness.of(rows).items() if name != "unchanged"})
    return found[0], found[1]


def _plan(choices: Choices, progress: Progress) -> Plan:
    images = len(choices.seeds)
    total, done = 2 * images + choices.baselines * most_count(images), 0

    def report(count: int) -> None:
        nonlocal done
        done += count
        progress(min(done, total), total)

    perceptual = perceptual_distance(fetch=choices.lpips)
    return Plan(seeds=choices.seeds, features=choices.features, perceptual=perceptual, report=report)


def _baselines(
    generator: Generator, patch: Patch, observed: Observed, reference: Reference, plan: Plan, count: int
) -> tuple[Change, ...]:
    made = []
    for number in range(count):
        edits = random_edits(patch.edits, observed.layers.levels, number)
        rows = most_active(observed.layers.peaks, edits)
        after = score_of_rows(generator, edits, rows, reference, plan)
        made.append(Change(before=observed.before.score(reference, rows), after=after))
    return tuple(made)


def _changes(observed: Observed, reference: Reference, rows: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the change of the score of each set of rows, and how much the images themselves change."""
    before, after, harm = observed.before, observed.after, observed.damage
    scores = {
        name: Change(before=before.score(reference, row), after=after.score(reference, row))
        for name, row in rows.items()
    }
    return {
        **scores,
        "touched": float((harm.largest > 0).double().mean()),
        "largest": float(harm.changed.max()),
        "ssim": float(harm.ssim[rows["fine"]].mean()),
    }


def _score_name(reference: Reference, features: Features) -> str:
    return "mean error" if reference.targets is not None else features.distance_name


def _figure(change: Change, what: str) -> Figure:
    return Figure(what=what, before=_short(change.before), after=_short(change.after))


def _short(number: float) -> float:
    return float(f"{number:.4g}")


def _refuse_seeds(generator: Generator, patch: Patch, seeds: Sequence[int]) -> None:
    count = generator.latent.count
    if count is not None and count < FEWEST_IMAGES:
        few = f"{count} different inputs are too few to evaluate a patch"
        raise GanpatchError(f"{few}; give at least {FEWEST_IMAGES}, as --inputs")
    if len(seeds) < FEWEST_IMAGES:
        few = f"{len(seeds)} seeds are too few to evaluate a patch"
        raise GanpatchError(f"{few}; give at least {FEWEST_IMAGES}, as --seeds")
    patch.evidence.refuse_chosen(seeds)
