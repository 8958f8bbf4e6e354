"""The input of every finding method, and the interface of a method."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ganpatch.finding.image_features import Features, load_features
from ganpatch.finding.kept_results import KeptResults
from ganpatch.finding.suggestions import Found
from ganpatch.forward.activations import Progress, unseen
from ganpatch.forward.processes import ALONE, Group
from ganpatch.generator.generator import Generator
from ganpatch.ranking.result import Ranking

REFERENCE = 1_000_000_000  # first seed of the images that define what is typical; no ranking uses these seeds


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A ranked generator, and optional inputs: real images, seeds of broken images, features.

    `images` is the number of top images per unit, and `references` the number of images that define what is typical.
    In a `group` of processes, each process does a share, and all get the scores. What is `kept` is not computed again.
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
    kept: KeptResults = field(default_factory=KeptResults)

    def reference_seeds(self) -> Sequence[int]:
        """Return seeds that the ranking did not use."""
        ranked = set(self.ranking.seeds)
        return [seed for seed in range(REFERENCE, REFERENCE + len(ranked) + self.references) if seed not in ranked][
            : self.references
        ]


class Method(Protocol):
    """The interface of a finding method."""

    NAME: str
    EXPLAINS: str

    def find(self, task: Task, layer: str) -> Found:
        """Score the units of one ranked layer."""

    def settings(self, task: Task) -> dict[str, Any]:
        """Return the settings of the task that the scores depend on."""


class Count:
    """A counter of processed images that reports the task's progress."""

    def __init__(self, task: Task, total: int) -> None:
        self._task, self._total, self._done = task, total, 0

    def __call__(self, done: int) -> None:
        """Add `more` images and report the progress."""
        self._done += done
        self._task.progress(self._done, self._total)
