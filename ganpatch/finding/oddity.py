"""Oddity: are the images in which a unit fires most odd ones?

    score(u) = mean over the unit's top images, and over their places, of the oddity of `usual.py`

Nothing is cut, so it cannot tell what draws a fault from what fires beside it. But faults that many units draw
together, of which one alone changes little, show here and not in typicality. The suggested edit is ablation.
"""

from typing import Any

from ganpatch.finding import typicality
from ganpatch.finding.closer_look import Look
from ganpatch.finding.suggestions import Found
from ganpatch.finding.task import Task

NAME = "oddity"
EXPLAINS = "how odd its top images look beside the generator's other images"


def settings(task: Task) -> dict[str, Any]:
    """Describe what of the task the scores depend on."""
    return typicality.settings(task)


def find(task: Task, layer: str) -> Found:
    """Score the units of one ranked layer."""
    return Found(score=Look(task, layer, with_cuts=False).oddity().mean(1))
