"""First look: the default order. Units whose cut clearly helps come first, then those with the oddest images.

A unit stands out by typicality if its score is above FLOOR, and above the third quartile of its layer by more than
FENCE times the interquartile range (after Tukey). These units come first, ordered by typicality, with scores above 1.
The others follow by oddity, with their rank as a share. So faults of single units are on the first screen, and faults
that many units draw together follow. The suggested edit is that of typicality.
"""

from typing import Any

import torch
from torch import Tensor

from ganpatch.finding import typicality
from ganpatch.finding.closer_look import Look
from ganpatch.finding.suggestions import Found
from ganpatch.finding.task import Task

NAME = "first-look"
EXPLAINS = "above 1: its top images become clearly more typical when it is cut; below 1: the rank of their oddity"
FENCE = 1.25
FLOOR = 0.18  # of a log distance: at the positions that gain, the distance from the typical falls by a sixth


def settings(task: Task) -> dict[str, Any]:
    """Return the settings of the task that the scores depend on."""
    return typicality.settings(task)


def find(task: Task, layer: str) -> Found:
    """Score the units of one ranked layer."""
    look = Look(task, layer, with_cuts=True)
    score = joined(look.gain(), look.oddity().mean(1))
    return Found(score=score, above=look.levels, value=look.levels)


def joined(gains: Tensor, oddity: Tensor) -> Tensor:
    """Return scores [C]: units that stand out by `gains` [C] first, then the others by `oddity` [C]."""
    low, high = gains.quantile(0.25), gains.quantile(0.75)
    fence = (high + FENCE * (high - low)).clamp(min=FLOOR)
    share = oddity.argsort().argsort() / len(oddity)
    return torch.where(gains > fence, 1 + gains - fence, share)
