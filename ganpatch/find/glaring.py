"""Glaring: as typicality, but a gain counts by how odd its place was.

    score(u) = mean over the unit's top images of the mean over the P places of largest gain * excess

with the gain oddity(x) - oddity(x') and the excess of oddity(x) over its mean at the place, 0 where either is negative.
It asks for faults that stand out by themselves. docs/finding.md says which of the two finds what.
"""

from typing import Any

from torch import Tensor

from ganpatch.find import typicality
from ganpatch.find.task import Task
from ganpatch.suggestions import Found

NAME = "glaring"
EXPLAINS = "as typicality, each gain times how odd the image was there: faults that stand out by themselves"


def settings(task: Task) -> dict[str, Any]:
    """Say what of the task the scores depend on."""
    return typicality.settings(task)


def find(task: Task, layer: str) -> Found:
    """Score the units of one ranked layer."""
    return typicality.by_gain(task, layer, _worth)


def _worth(gain: Tensor, excess: Tensor) -> Tensor:
    return gain.clamp(min=0) * excess.clamp(min=0)
