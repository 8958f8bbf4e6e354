"""Fréchet distance of a unit's images (Bau et al. 2019, the automatic ranking); needs real images.

The 5 % of the images that activate a unit most are compared with real images. Units with the largest distance are
suggested:

    d(u) = |mean_u - mean_r|^2 + tr S_u + tr S_r - 2 tr sqrt(S_u S_r)

In the paper this agreed with the manual list in 10 of 20 units. With n images of a unit, S_u has rank below n, and the
trace of the square root comes from the singular values of an [n, R] product instead of the root of a [D, D] matrix.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ganpatch.errors import GanpatchError
from ganpatch.finding.suggestions import Found
from ganpatch.finding.task import Count, Task
from ganpatch.forward.activations import BATCH, batched, stream
from ganpatch.pages.image_grids import read_images

NAME = "fd"
EXPLAINS = "Fréchet distance between the 5 % of the images that activate it most and real images"
TOP = 0.05
_FEWEST = 8


def settings(task: Task) -> dict[str, Any]:
    """Return the settings of the task that the scores depend on."""
    return {"features": task.features.name, "images": len(task.ranking.seeds), "real": str(task.real)}


@torch.no_grad()
def find(task: Task, layer: str) -> Found:
    """Score the units of one ranked layer; raise GanpatchError if there are no or too few images."""
    if task.real is None:
        raise GanpatchError("fd compares with real images; name their folder with --real FOLDER")
    units, report = task.ranking[layer].units, Count(task, len(task.ranking.seeds))

    def seen(part: Sequence[int]) -> Tensor:
        peaks: list[Tensor] = []
        watch = {layer: lambda activation, _seeds: peaks.append(activation.flatten(2).amax(2).cpu())}
        ((_, images),) = stream(task.generator, watch, part)
        assert images is not None
        report(len(part))
        return torch.cat([peaks[0].double(), task.features.vectors(images).double()], 1)

    scores, own = task.group.mapped(seen, list(batched(task.ranking.seeds))).tensor_split([units], 1)
    height, width = task.generator.sample(task.ranking.seeds[:1]).shape[-2:]
    batches = read_images(task.real, (height, width), BATCH)
    real = torch.cat([task.features.vectors(batch) for batch in batches]).double()
    count = round(TOP * len(own))
    if count < _FEWEST or len(real) < _FEWEST:
        raise GanpatchError(
            f"fd needs at least {_FEWEST / TOP:.0f} ranked images and {_FEWEST} real ones, "
            f"not {len(own)} and {len(real)}"
        )
    best = scores.topk(count, 0).indices.T  # [C, n]
    return Found(score=torch.stack([frechet(own[rows], real) for rows in best]).float())


def frechet(some: Tensor, others: Tensor) -> Tensor:
    """Return the Fréchet distance between two sets of vectors [n, D] and [m, D], as Gaussians."""
    a, b = (x - x.mean(0) for x in (some, others))
    a, b = a / (len(a) - 1) ** 0.5, b / (len(b) - 1) ** 0.5
    cross = torch.linalg.svdvals(a @ b.T).sum()  # tr sqrt(A'A B'B) is the sum of the singular values of A B'
    distance: Tensor = (some.mean(0) - others.mean(0)).square().sum() + a.square().sum() + b.square().sum() - 2 * cross
    return distance
