"""The verdict on a patch: better, mixed, no change, not shown or worse, and the sentence that says why.

    verdict = judge_change(found)           # Measured: scores before and after, of the patch and of its baselines
    verdict.answer, verdict.p_value, verdict.sentence

A score is a distance, so lower is better: the mean error to the right images where they are known, else the Fréchet
distance to a set of reference images. It is taken over the images that most activate the edited units, over all
images, and over the half that activates them least, which were fine. Each random-unit baseline is scored on the images
that most activate its *own* units: scored on the patch's, any patch would win.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import mean, median
from typing import Literal

Answer = Literal["better", "more typical", "mixed", "no change", "not shown", "worse"]

COUNTS = 0.01  # relative change of a score below which nothing is claimed
ELSEWHERE = 0.01  # by how much the score of all images may rise
FINE = 0.02  # by how much that of fine images may, or by half of what all gain: a repair may cost something elsewhere
RECALL = 0.03  # by how much precision of all images may fall, and recall where coverage falls too
CHANCE = 0.05  # largest p-value that counts; at least 20 baselines are needed to reach it
APART = 3.0  # a repair is also so many lower deviations below the median of its baselines
UNSEEN = 0.5 / 255  # mean absolute change of the most changed image below which nobody sees a change


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A score before and after an edit."""

    before: float
    after: float

    @property
    def relative(self) -> float:
        """The change in relation to the score before; negative where the score falls."""
        return (self.after - self.before) / max(self.before, 1e-12)

    def __str__(self) -> str:
        return f"{_moves(self.relative)} from {self.before:.4g} to {self.after:.4g} ({self.relative:+.1%})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was measured: scores of the `most` active, `all` and `fine` images, and of each baseline's most active ones.

    `score` names the score; `largest` is the mean absolute change of the most changed image, `touched` the share of
    images that change, `precision`, `recall` and `coverage` those of all images, `ssim` that of fine images to before.
    `judged` is the sentence of a person's comparison in which the patch was preferred, if there is one. `is_paired`
    says that the score compares each image with the right one.
    """

    score: str
    is_independent: bool
    most: Change
    all: Change
    fine: Change
    baselines: Sequence[Change]
    precision: Change
    recall: Change
    touched: float
    largest: float
    ssim: float
    judged: str = ""
    is_paired: bool = False
    coverage: Change | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer, with the p-value against the baselines (None where there are none) and one sentence."""

    answer: Answer
    p_value: float | None
    sentence: str


def judge_change(found: Measured) -> Verdict:
    """Judge what was `found`, by the rules that docs/methods/evaluation.md states."""
    p_value = rank_p_value(found.most, found.baselines)
    answer = _answer(found, p_value)
    return Verdict(answer=answer, p_value=p_value, sentence=_sentence(found, answer, p_value))


def rank_p_value(own: Change, baselines: Sequence[Change]) -> float | None:
    """Return the share of baselines, the patch among them, that lower their score at least as much as the patch."""
    if not baselines:
        return None
    as_low = sum(one.relative <= own.relative for one in baselines)
    return (1 + as_low) / (1 + len(baselines))


def _answer(found: Measured, p_value: float | None) -> Answer:
    if found.largest < UNSEEN or _is_nothing(found):
        return "no change"
    if found.most.relative <= -COUNTS and p_value is not None and p_value <= CHANCE and _is_apart(found):
        if _harms_elsewhere(found):
            return "mixed"
        return "better" if found.is_independent or found.judged else "more typical"
    rises = found.most.relative >= COUNTS and found.all.relative >= 0
    return "worse" if rises or found.all.relative >= 2 * COUNTS else "not shown"


def _is_nothing(found: Measured) -> bool:
    """Return whether no score moves and fine images stay as they were."""
    return max(abs(one.relative) for one in (found.most, found.all)) < COUNTS and found.ssim >= 0.999


def _is_apart(found: Measured) -> bool:
    """Return whether the score falls further than the spread of the baselines explains.

    The spread is that of the baselines that lower their score more than the median one does: how much harm the others
    do says nothing about how far a score falls by chance.
    """
    gains = [one.relative for one in found.baselines]
    middle = median(gains)
    lower = [middle - gain for gain in gains if gain < middle] or [0.0]
    return found.most.relative < middle - APART * sqrt(mean(gap**2 for gap in lower))


def _harms_elsewhere(found: Measured) -> bool:
    """Return whether other images get worse; sets of images count only where the right image of a seed is not known."""
    rises = found.all.relative > ELSEWHERE or found.fine.relative > max(FINE, -found.all.relative / 2)
    return rises or (not found.is_paired and max(_fall(found.precision), _lost_variety(found)) > RECALL)


def _lost_variety(found: Measured) -> float:
    """Return the fall of recall, as far as coverage confirms it: outliers alone raise recall (Naeem et al. 2020)."""
    return min(_fall(one) for one in (found.recall, found.coverage) if one is not None)


def _fall(change: Change) -> float:
    return change.before - change.after


def _sentence(found: Measured, answer: Answer, p_value: float | None) -> str:
    if found.touched == 0:
        return "No change: the patch never acts on these images."
    parts = [f"{answer.capitalize()}: the {found.score} of the images that most activate its units {found.most}"]
    if p_value is not None:
        changes = sorted(one.relative for one in found.baselines)
        parts.append(
            f"{len(changes)} random-unit baselines: {changes[0]:+.1%} to {changes[-1]:+.1%}, p = {p_value:.2g}"
        )
    shares = {"precision": found.precision, "recall": found.recall, "coverage": found.coverage}
    counted = {} if found.is_paired else shares  # beside the error of each image they tell nothing
    spans = [f"{name} {_span(change)}" for name, change in counted.items() if change is not None]
    parts.append(", ".join([f"over all images it {found.all}", *spans]))
    parts.append(f"images that were fine keep an SSIM of {found.ssim:.3f}")
    text = "; ".join(parts) + "."
    if p_value is not None and 1 / (1 + len(found.baselines)) > CHANCE:
        text += " At least 20 baselines are needed to show an improvement."
    elif answer == "not shown" and found.most.relative <= -COUNTS and p_value is not None and not _is_apart(found):
        text += " Random units spread so widely that they may do as much."
    if found.judged:
        text += f" By eye: {found.judged}"
    if answer == "more typical":
        text += " Without real images this does not show that they are better: compare them with `ganpatch judge`."
    return text


def _span(change: Change) -> str:
    return f"{change.before:.2f} to {change.after:.2f}"


def _moves(relative: float) -> str:
    return "falls" if relative < 0 else "rises"
