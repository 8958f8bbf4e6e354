"""Oddity: how odd are the images in which a unit is most active?

    score(u) = mean over the unit's top images, and over their positions, of the oddity in `typical.py`

Nothing is cut, so oddity cannot distinguish a unit that draws a fault from a unit that is active beside one. But faults
that many units draw together, where one unit alone changes little, show here and not in typicality. The suggested edit
is ablation.
"""

from typing import Any

from ganpatch.finding import typicality
from ganpatch.finding.closer_look import Look
from ganpatch.finding.suggestions import Found
from ganpatch.finding.task import Task

NAME = "oddity"
EXPLAINS = "how odd its top images are, compared with the generator's other images"


def settings(task: Task) -> dict[str, Any]:
    """Return the settings of the task that the scores depend on."""
    return typicality.settings(task)


def find(task: Task, layer: str) -> Found:
    """Score the units of one ranked layer."""
    return Found(score=Look(task, layer, with_cuts=False).oddity().mean(1))
