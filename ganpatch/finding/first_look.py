"""First look: the order in which to look. Units whose cut clearly helps come first, then those with the oddest images.

A unit stands out by typicality when its score is above FLOOR, and above the third quartile of its layer by more than
FENCE times the distance of the quartiles (after Tukey). Those come by their typicality, with scores above 1; the rest
by oddity, with their place as a share. So a fault of single units is on the first screen, and one that many units draw
together follows. The suggested edit is that of typicality.
"""

from typing import Any

import torch
from torch import Tensor

from ganpatch.finding import typicality
from ganpatch.finding.closer_look import Look
from ganpatch.finding.suggestions import Found
from ganpatch.finding.task import Task

NAME = "first-look"
EXPLAINS = "above 1: its top images look clearly more usual when it is cut; below 1: how odd they are, as a rank"
FENCE = 1.25
FLOOR = 0.18  # of a log distance: its images come nearer to the usual by a sixth, at the places that gain


def settings(task: Task) -> dict[str, Any]:
    """Describe what of the task the scores depend on."""
    return typicality.settings(task)


def find(task: Task, layer: str) -> Found:
    """Score the units of one ranked layer."""
    look = Look(task, layer, with_cuts=True)
    score = joined(look.gain(), look.oddity().mean(1))
    return Found(score=score, above=look.levels, value=look.levels)


def joined(gains: Tensor, oddity: Tensor) -> Tensor:
    """Put units that stand out by `gains` [C] before the others, which come by `oddity` [C]."""
    low, high = gains.quantile(0.25), gains.quantile(0.75)
    fence = (high + FENCE * (high - low)).clamp(min=FLOOR)
    share = oddity.argsort().argsort() / len(oddity)
    return torch.where(gains > fence, 1 + gains - fence, share)
