"""Weights: are a unit's weights unlike those of the other units of its layer?

A unit that is broken in every image shows in none of them, because no image is without it. Its weights can show it. Two
numbers per unit, from the convolution that computes the layer and the one that uses it:

    l(u) = log of the length of the incoming weights
    r(u) = share of the outgoing weights, at length 1, that those of the other units do not explain (ridge regression)

The outgoing weights of a trained layer lie close to a space of few dimensions, which a wrong direction leaves. With m
the median of a number over the units, and q the 90 % quantile of its distances from m,

    score(u) = max((l(u) - m_l) / log 2, (r(u) - m_r) / (2 q_r))

so a unit scores above 1 if its weights are twice as long as the median, or twice as far out as those at the edge.
No image is drawn. The suggested edit is ablation.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from ganpatch.errors import GanpatchError
from ganpatch.finding.suggestions import Found
from ganpatch.finding.task import Task

NAME = "weights"
EXPLAINS = "how far its incoming weights differ in length, or its outgoing weights in direction, from other units'"
RIDGE = 0.5  # of the regression, for weights at length 1
EDGE, TWICE = 0.9, 2.0
_LEAST = 1e-9

Convolution = nn.Conv2d | nn.ConvTranspose2d


def settings(_task: Task) -> dict[str, Any]:
    """Return the settings that the scores depend on; none of them is of the task."""
    return {"ridge": RIDGE}


def find(task: Task, layer: str) -> Found:
    """Score the units of one ranked layer; raise GanpatchError if no convolutions compute and use it."""
    incoming, outgoing = weights_around(task.generator.module, layer, task.ranking[layer].units)
    return Found(score=scores(incoming, outgoing).float().cpu())


def scores(incoming: Tensor, outgoing: Tensor) -> Tensor:
    """Return the score of each unit [C] from its incoming and its outgoing weights, each [C, ...]."""
    lengths, left = incoming.norm(dim=1).clamp(min=_LEAST).log(), unexplained(outgoing)
    apart = left - left.median()
    edge = apart.abs().quantile(EDGE).clamp(min=_LEAST)
    return torch.maximum((lengths - lengths.median()) / math.log(TWICE), apart / (TWICE * edge))


def weights_around(module: nn.Module, layer: str, units: int) -> tuple[Tensor, Tensor]:
    """Return the weights [C, ...] with which the units of a layer are computed, and those with which they are used.

    They are those of the last convolution up to the end of the layer, and of the first one after it.
    """
    names = [name for name, _ in module.named_modules(remove_duplicate=False)]
    last = max((i for i, name in enumerate(names) if name == layer or name.startswith(f"{layer}.")), default=-1)
    parts = [part for _, part in module.named_modules(remove_duplicate=False)]
    before = [part for part in parts[: last + 1] if isinstance(part, Convolution)]
    after = [part for part in parts[last + 1 :] if isinstance(part, Convolution)]
    found = [(before[-1], True), (after[0], False)] if before and after else []
    matrices = [_of_units(convolution, incoming=incoming) for convolution, incoming in found]
    if [len(matrix) for matrix in matrices] != [units, units]:
        raise GanpatchError(f"weights: no convolutions compute and use the {units} units of layer '{layer}' directly")
    return matrices[0], matrices[1]


def unexplained(weights: Tensor) -> Tensor:
    """Return the share of each row [C] of weights [C, M], at length 1, that the other rows do not explain.

    By ridge regression with each row left out in turn, which the inverse of one matrix gives for all rows.
    """
    rows = weights / weights.norm(dim=1, keepdim=True).clamp(min=_LEAST)
    gram = rows @ rows.T + RIDGE * torch.eye(len(rows), dtype=rows.dtype, device=rows.device)
    left: Tensor = 1 / torch.linalg.inv(gram).diagonal() - RIDGE
    return left


def _of_units(convolution: Convolution, *, incoming: bool) -> Tensor:
    weight: Tensor = convolution.weight.detach().double()
    first = incoming == isinstance(convolution, nn.Conv2d)
    return (weight if first else weight.transpose(0, 1)).flatten(1)
