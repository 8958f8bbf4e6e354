"""Typicality: does an image look more usual when a unit is kept from firing high?

No real images are needed. On images x in which a unit fires most, what it gives beyond its own 99 % level is cut off,
and the rest of the generator runs again: x'. With the distance of `usual.py`, and the gain distance(x) - distance(x'),

    score(u) = mean over half of the images x, those that gain most, of the mean of the P largest gains over the places

A unit that draws what belongs there makes room, when it is cut, for something no more usual; a unit that draws a fault
uncovers a usual image. Only the places that change most count, as faults are local, and only half of the images, as
not all may have it. Units that gain much on their top images are cut in more images: the more, the less their scores
differ by chance. The cut is the edit that is suggested: `above` and `value` at the level.
"""

from typing import Any

from ganpatch.finding.closer_look import Look
from ganpatch.finding.suggestions import Found
from ganpatch.finding.task import Task

NAME = "typicality"
EXPLAINS = "how much more usual its top images look, at the places that gain, when the unit is cut at its 99 % level"


def settings(task: Task) -> dict[str, Any]:
    """Describe what of the task the scores depend on."""
    return {"features": task.features.name, "images": task.images, "references": task.references}


def find(task: Task, layer: str) -> Found:
    """Score the units of one ranked layer."""
    look = Look(task, layer, with_cuts=True)
    return Found(score=look.gain(), above=look.levels, value=look.levels)
