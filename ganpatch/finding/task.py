"""What every finding method is given."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ganpatch.finding.image_features import Features, load_features
from ganpatch.finding.suggestions import Found
from ganpatch.forward.activations import Progress, unseen
from ganpatch.forward.processes import ALONE, Group
from ganpatch.generator.generator import Generator
from ganpatch.ranking.result import Ranking

REFERENCE = 1_000_000_000  # images that say what is usual have seeds from here on, never those of a ranking


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A ranked generator, and what a user may give: real images, seeds of broken ones, features.

    `images` are looked at per unit, the first of its top images, and `references` say what is usual. Of a `group` of
    processes each does a share, and all get the scores.
    """

    generator: Generator
    ranking: Ranking
    features: Features = field(default_factory=load_features)
    real: Path | None = None
    broken: Sequence[int] = ()
    images: int = 12
    references: int = 1000
    progress: Progress = unseen
    group: Group = ALONE

    def reference_seeds(self) -> Sequence[int]:
        """Return seeds that the ranking did not see."""
        ranked = set(self.ranking.seeds)
        return [seed for seed in range(REFERENCE, REFERENCE + len(ranked) + self.references) if seed not in ranked][
            : self.references
        ]


class Method(Protocol):
    """One file of this room."""

    NAME: str
    EXPLAINS: str

    def find(self, task: Task, layer: str) -> Found:
        """Score the units of one ranked layer."""

    def settings(self, task: Task) -> dict[str, Any]:
        """Describe what of the task the scores depend on."""


class Count:
    """Counts images as they are done, and tells the task's progress."""

    def __init__(self, task: Task, total: int) -> None:
        self._task, self._total, self._done = task, total, 0

    def __call__(self, done: int) -> None:
        """Report that so many more are done."""
        self._done += done
        self._task.progress(self._done, self._total)
