"""Typicality: does an image look more usual when a unit is kept from firing high?

No real images are needed. On the images x where a unit fires most, what it gives beyond its own 99 % level is cut off,
and the rest of the generator runs again: x'. The score is the gain in usualness

    score(u) = mean over the unit's top images of the mean over the P places of largest gain of oddity(x) - oddity(x')

with the oddity of `usual.py`. A unit that draws what belongs there makes room, when it is cut, for something no more
usual; a unit that draws a fault uncovers a usual image. Only the places of largest gain count: faults are local.
The cut is the edit that is suggested: `above` and `value` at the level.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ganpatch.activations import batched
from ganpatch.features import feature_maps
from ganpatch.find.task import BATCH, Count, Task
from ganpatch.find.usual import Usual
from ganpatch.suggestions import Found
from ganpatch.tail import Front, Tail

NAME = "typicality"
EXPLAINS = "how much more usual its top images look, at the places that gain, when the unit is cut at its 99 % level"
PLACES = 1 / 32  # the share of an image's places at which the gain is read


def settings(task: Task) -> dict[str, Any]:
    """Say what of the task the scores depend on."""
    return {"features": task.features.name, "images": task.images, "references": task.references}


def find(task: Task, layer: str) -> Found:
    """Score the units of one ranked layer."""
    return by_gain(task, layer, lambda gain, _odd: gain)


@torch.no_grad()
def by_gain(task: Task, layer: str, worth: Callable[[Tensor, Tensor], Tensor]) -> Found:
    """Score units by the `worth` [N, h, w] of a gain where the image was so odd, both [N, h, w].

    The oddity that `worth` gets is that beyond the mean of all images at the place.
    """
    ranked = task.ranking[layer]
    top = ranked.top_seeds[:, : task.images]  # [C, K]
    seeds, rows = top.unique(return_inverse=True)
    tail = Tail.of(task.generator, layer)
    report = Count(task, len(task.reference_seeds()) + len(seeds) + top.numel())
    usual = Usual(feature_maps(task.generator, task.features, task.reference_seeds(), report))
    fronts, before = [], []
    for part in batched(seeds.tolist(), BATCH):
        fronts.append(tail.front(part))
        before.append(usual.oddity(task.features.maps(tail(fronts[-1], lambda y: y))))
        report(len(part))
    front, odd = Front.joined(fronts), torch.cat(before)
    beyond = odd - odd.mean(0)
    units = torch.arange(ranked.units).repeat_interleave(top.shape[1])
    gains = []
    for part in batched(range(len(units)), BATCH):
        of, row = units[list(part)], rows.flatten()[list(part)]
        images = tail(front.rows(row), cut(of, ranked.q99[of]))
        gain = odd[row] - usual.oddity(task.features.maps(images))
        gains.append(_largest(worth(gain, beyond[row])))
        report(len(part))
    return Found(score=torch.cat(gains).view(top.shape).mean(1), above=ranked.q99, value=ranked.q99)


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
