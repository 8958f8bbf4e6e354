"""Typicality: does an image become more typical if a unit is kept from high activation?

No real images are needed. For images x in which a unit is most active, its activation is cut at its own 99 % level, and
the rest of the generator runs again, which gives x'. With the distance in `typical.py` and the gain
distance(x) - distance(x'),

    score(u) = mean over the half of the images x that gain most, of the mean of the P largest gains over positions

If a unit draws what belongs there, something no more typical appears when it is cut. If it draws a fault, a typical
image appears. Only the positions that change most count, because faults are local, and only half of the images, because
not all of them may have the fault. Units with a large gain in their top images are cut in more images, so that their
scores differ less by chance. The suggested edit is the cut: `above` and `value` at the level.
"""

from typing import Any

from ganpatch.finding.closer_look import Look
from ganpatch.finding.suggestions import Found
from ganpatch.finding.task import Task

NAME = "typicality"
EXPLAINS = "how much more typical its top images become, at the positions that gain, when it is cut at its 99 % level"


def settings(task: Task) -> dict[str, Any]:
    """Return the settings of the task that the scores depend on."""
    return {"features": task.features.name, "images": task.images, "references": task.references}


def find(task: Task, layer: str) -> Found:
    """Score the units of one ranked layer."""
    look = Look(task, layer, with_cuts=True)
    return Found(score=look.gain(), above=look.levels, value=look.levels)
