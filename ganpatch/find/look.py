"""A look at the top images of a layer's units: how odd they are, and how much more usual when a unit is cut.

    look = Look(task, "layer4")
    look.oddity()                           # [C, K] per unit and top image
    look.gains()                            # [C, K]

Typicality, oddity and first-look are made of these two.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ganpatch.activations import batched
from ganpatch.features import feature_maps
from ganpatch.find.task import BATCH, Count, Task
from ganpatch.find.usual import Usual
from ganpatch.tail import Front, Tail

PLACES = 1 / 128  # the share of an image's places at which a gain is read


class Look:
    """The top images [C, K] of the units of one ranked layer, beside what is usual."""

    def __init__(self, task: Task, layer: str, *, with_cuts: bool) -> None:
        self._task, self._layer = task, layer
        self.levels = task.ranking[layer].q99
        top = task.ranking[layer].top_seeds[:, : task.images]
        seeds, self._rows = top.unique(return_inverse=True)
        self._seeds = seeds.tolist()
        cuts = len(seeds) + top.numel() if with_cuts else 0
        self._report = Count(task, task.references + len(seeds) + cuts)
        self._usual = Usual(self._maps(task.reference_seeds()))
        self._top = self._maps(self._seeds)  # [S, D, h, w]

    def oddity(self) -> Tensor:
        """Give how odd each top image is as a whole [C, K]: the mean over its places."""
        return self._usual.oddity(self._top).mean((1, 2))[self._rows].cpu()

    @torch.no_grad()
    def gains(self) -> Tensor:
        """Give how much more usual each top image becomes [C, K] when what its unit gives beyond its level is cut."""
        tail = Tail.of(self._task.generator, self._layer)
        fronts = []
        for part in batched(self._seeds, BATCH):
            fronts.append(tail.front(part))
            self._report(len(part) if self._task.group.is_first else 0)
        front, rows = Front.joined(fronts), self._rows.flatten()
        units = torch.arange(len(self._rows)).repeat_interleave(self._rows.shape[1])
        before = self._usual.distance(self._top)

        def gains_of(part: Sequence[int]) -> Tensor:
            of, row = units[list(part)], rows[list(part)]
            images = tail(front.rows(row), cut(of, self.levels[of]))
            change = before[row] - self._usual.distance(self._task.features.maps(images))
            self._report(len(part))
            return _largest(change)

        gains = self._task.group.mapped(gains_of, list(batched(range(len(units)), BATCH)))
        return gains.view(self._rows.shape).cpu()

    def _maps(self, seeds: Sequence[int]) -> Tensor:
        return feature_maps(self._task.generator, self._task.features, seeds, self._report, self._task.group)


def cut(units: Tensor, levels: Tensor) -> Callable[[Tensor], Tensor]:
    """Give the change that holds, in row i of an activation, unit `units[i]` at or below `levels[i]`."""

    def change(y: Tensor) -> Tensor:
        y, rows = y.clone(), torch.arange(len(units))
        own = y[rows, units]
        y[rows, units] = torch.minimum(own, levels.to(y).view(-1, *[1] * (own.ndim - 1)))
        return y

    return change


def _largest(change: Tensor) -> Tensor:
    """Give the mean of the largest entries of each map [N, h, w]."""
    places = change.flatten(1)
    return places.topk(max(1, round(PLACES * places.shape[1])), 1).values.mean(1)
