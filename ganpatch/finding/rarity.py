"""Rarity: units that are rarely active, per unit and per position (Choi et al. 2022, arXiv 2201.06346).

A neuron is a unit at a position; f is the share of images in which it is above zero. It is rare if 0 < f <= 0.30.
The authors score an image by the number of its active rare neurons. Here a unit is scored by its own rare neurons:

    score(u) = mean over positions of (1 - f) where 0 < f <= 0.30, else 0

Their correction, positive activations of rare neurons set to 0, is the suggested edit: `above: 0` where the mask is 1.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ganpatch.finding.suggestions import Found
from ganpatch.finding.task import Task
from ganpatch.forward.activations import batched, stream

NAME = "rarity"
EXPLAINS = "share of its positions that are active in at most 30 % of the images, weighted by rarity (Choi 2022)"
RARE = 0.30


def settings(task: Task) -> dict[str, Any]:
    """Return the settings of the task that the scores depend on."""
    return {"rare": RARE, "images": len(task.ranking.seeds)}


def find(task: Task, layer: str) -> Found:
    """Score the units of one ranked layer."""
    counts: list[Tensor] = []
    seen = 0

    def on_activation(activation: Tensor, seeds: Sequence[int]) -> None:
        nonlocal seen
        fired = (activation > 0).sum(0)
        counts[:] = [counts[0] + fired] if counts else [fired]
        seen += len(seeds)

    seeds = [seed for part in task.group.share(list(batched(task.ranking.seeds))) for seed in part]
    for _ in stream(task.generator, {layer: on_activation}, seeds, with_images=False):
        task.progress(seen, len(task.ranking.seeds))
    parts = task.group.gathered({"fired": counts[0].cpu()} if counts else {})
    share = torch.stack([part["fired"] for part in parts if part]).sum(0) / len(task.ranking.seeds)
    rare = (share > 0) & (share <= RARE)
    score = ((1 - share) * rare).flatten(1).mean(1)
    zeros = torch.zeros(len(score))
    return Found(score=score, above=zeros, mask=rare.float() if rare.ndim == 3 else None)
