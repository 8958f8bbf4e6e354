"""Compare pairs by eye: a person sees each seed before and after an edit, side by side, and says which is better.

    judged = count_answers(read_comparison(folder), read_answers(path, comparison))
    judged.patch["most"].share, judged.patch["most"].interval       # how often the edited image was preferred

As in the paper's human test (Bau et al. 2019: the repaired image was preferred in 79.0 %, with random units in 50.8 %),
pairs of random-unit baselines are mixed in unmarked and sides are shuffled. The seeds are of a range that no command
uses, without those that the patch's evidence names.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from ganpatch.disk.json_files import Section, read_section
from ganpatch.errors import GanpatchError
from ganpatch.number_ranges import format_spans
from ganpatch.patch.evidence import Evidence, Figure, Record

MADE_BY = "ganpatch judge"
COMPARISON, ANSWERS, PAIRS = "comparison.json", "answers.json", "pairs"
_LARGEST = 4_000_000  # bytes of a comparison or of answers

Where = Literal["most", "all"]
WHERE: tuple[Where, ...] = ("most", "all")
Side = Literal["left", "right", "same"]
Identity = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class Pair(Section):
    """One pair: which images it is of, whether the patch or a baseline was applied, and on which side it is."""

    id: Identity
    seed: Annotated[int, Field(ge=0)]
    where: Where
    edit: Literal["patch", "baseline"]
    edited: Literal["left", "right"]


class Comparison(Section):
    """All pairs of a comparison, in the order in which they are shown; `patch` is the digest of the patch's edits."""

    id: Identity
    patch: str
    name: str
    pairs: Annotated[tuple[Pair, ...], Field(min_length=1, max_length=10_000)]


class Answer(Section):
    """Which image of a pair is better."""

    pair: Identity
    better: Side


class Answers(Section):
    """The answers of one person to a comparison, in the order in which they were given."""

    comparison: Identity
    answers: Annotated[tuple[Answer, ...], Field(max_length=10_000)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How often the edited image was preferred, how often the one before, how often neither."""

    preferred: int = 0
    against: int = 0
    same: int = 0

    @property
    def share(self) -> float | None:
        """The share of decided pairs in which the edited image was preferred; None where none was decided."""
        decided = self.preferred + self.against
        return self.preferred / decided if decided else None

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the share (Wilson 1927)."""
        return wilson_interval(self.preferred, self.preferred + self.against)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The result: shares of the patch and of the baselines, by which images; how many pairs have an answer."""

    patch: Mapping[Where, Share]
    baseline: Mapping[Where, Share]
    answered: int
    pairs: int
    seeds: tuple[int, ...]

    @property
    def is_preferred(self) -> bool:
        """Whether the patch was preferred on its most active images: for certain, and more often than the baselines."""
        own, others = self.patch["most"], self.baseline["most"]
        return own.interval[0] > 0.5 and (own.share or 0) > (others.share or 0)

    def record(self) -> Record:
        """Return the result as a record for the patch file."""
        figures = {}
        for edit, shares in (("patch", self.patch), ("baseline", self.baseline)):
            for where, share in shares.items():
                if share.share is not None:
                    what = f"share of {share.preferred + share.against} decided pairs ({share.same} undecided)"
                    low, high = share.interval
                    figures[f"{edit}_preferred_{where}"] = Figure(
                        what=what, value=round(share.share, 4), interval=(round(low, 4), round(high, 4))
                    )
        seeds = format_spans(self.seeds)
        return Record(made_by=MADE_BY, measured_on=seeds, figures=figures, note=self.sentence)

    @property
    def sentence(self) -> str:
        """The result in words."""
        own, others = (_words(shares["most"]) for shares in (self.patch, self.baseline))
        return f"On its most active images the patched image was preferred in {own}; with random units in {others}."


def read_comparison(folder: Path) -> Comparison:
    """Read the comparison of a folder; raise GanpatchError when there is none, or it is broken."""
    if not (folder / COMPARISON).is_file():
        raise GanpatchError(
            f"'{folder}' holds no comparison; make one with: ganpatch judge MODEL PATCH.yaml -o {folder}"
        )
    return read_section(folder / COMPARISON, Comparison, limit=_LARGEST)


def read_answers(path: Path, comparison: Comparison) -> Answers:
    """Read answers; raise GanpatchError when they are broken, or are answers to another comparison."""
    answers = read_section(path, Answers, limit=_LARGEST)
    if answers.comparison != comparison.id:
        raise GanpatchError(
            f"'{path}' answers another comparison ({answers.comparison}), not this one ({comparison.id})"
        )
    known = {pair.id for pair in comparison.pairs}
    if strange := [answer.pair for answer in answers.answers if answer.pair not in known]:
        raise GanpatchError(f"'{path}': pair {strange[0]} is not in the comparison")
    return answers


def count_answers(comparison: Comparison, answers: Answers) -> Judged:
    """Count how often edited images were preferred; of several answers to one pair the last one counts."""
    last = {answer.pair: answer.better for answer in answers.answers}
    counted = {(edit, where): Share() for edit in ("patch", "baseline") for where in WHERE}
    for pair in comparison.pairs:
        if pair.id in last:
            key = (pair.edit, pair.where)
            counted[key] = _with(counted[key], last[pair.id], pair.edited)
    return Judged(
        patch={where: counted["patch", where] for where in WHERE},
        baseline={where: counted["baseline", where] for where in WHERE},
        answered=len(last),
        pairs=len(comparison.pairs),
        seeds=tuple(sorted({pair.seed for pair in comparison.pairs})),
    )


def judged_rows(judged: Judged) -> tuple[list[str], list[list[str]]]:
    """Return a heading and a table: per edit and images the pairs, the share and its interval."""
    rows = []
    for edit, shares in (("patch", judged.patch), ("random units", judged.baseline)):
        for where, share in shares.items():
            low, high = share.interval
            counts = [str(count) for count in (share.preferred, share.against, share.same)]
            middle = "" if share.share is None else f"{share.share:.2f}"
            rows.append([edit, where, *counts, middle, f"{low:.2f}", f"{high:.2f}"])
    return ["edit", "images", "preferred", "not", "no difference", "share", "low", "high"], rows


def preferred_by_eye(evidence: Evidence) -> str:
    """Return the result of the last comparison by eye, in words, if the patch was preferred in it; else ""."""
    record = evidence.by(MADE_BY)
    own = record.figures.get("patch_preferred_most") if record else None
    others = record.figures.get("baseline_preferred_most") if record else None
    if record is None or own is None or own.interval is None or own.value is None:
        return ""
    above = others is None or own.value > (others.value or 0)
    return record.note if own.interval[0] > 0.5 and above else ""


def wilson_interval(hits: int, count: int) -> tuple[float, float]:
    """Return the 95 % score interval of a binomial share (Wilson 1927); (0, 1) for no trials."""
    if not count:
        return 0.0, 1.0
    z, share = 1.959964, hits / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * (share * (1 - share) / count + z * z / (4 * count * count)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)


def _with(share: Share, better: Side, edited: str) -> Share:
    if better == "same":
        return Share(preferred=share.preferred, against=share.against, same=share.same + 1)
    hit = better == edited
    return Share(preferred=share.preferred + hit, against=share.against + (not hit), same=share.same)


def _words(share: Share) -> str:
    if share.share is None:
        return "no decided pair"
    low, high = share.interval
    return f"{share.share:.0%} of {share.preferred + share.against} pairs ({low:.0%} to {high:.0%})"
