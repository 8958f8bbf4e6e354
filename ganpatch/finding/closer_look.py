"""The images that most activate a layer's units: how odd they are, and how much more typical without the unit.

    look = Look(task, "layer4", with_cuts=True)
    look.oddity()                           # [C, K] per unit and top image
    look.gain()                             # [C]

Typicality, oddity and first-look are computed from these two.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ganpatch.finding.image_features import feature_maps
from ganpatch.finding.task import Count, Task
from ganpatch.finding.typical import Typical
from ganpatch.forward.activations import BATCH, batched
from ganpatch.generator.layers import hooked, tensor_of
from ganpatch.graph.remainder import Remainder
from ganpatch.patch.equation import Terms, edited

PLACES = 1 / 128  # share of the positions of an image over which a gain is averaged
CLOSER = 1 / 3  # share of the units that are cut in more images
MORE = 2  # how many times as many images, in addition


@dataclass(frozen=True, slots=True, kw_only=True)
class _Images:
    """Images in which units are cut: `seeds` [N], feature `maps` [N, D, h, w], indices `own` in the references [N]."""

    seeds: Tensor
    maps: Tensor
    own: Tensor


class Look:
    """The images that most activate the units of one ranked layer, compared with typical images."""

    def __init__(self, task: Task, layer: str, *, with_cuts: bool) -> None:
        self._task, self._layer = task, layer
        self.levels = task.ranking[layer].q99
        top = task.ranking[layer].top_seeds[:, : task.images]
        seeds, self._rows = top.unique(return_inverse=True)
        references = task.reference_seeds()
        self._more, self._closer = min(MORE * top.shape[1], len(references)), max(1, round(CLOSER * len(top)))
        cuts = top.numel() + self._closer * self._more if with_cuts else 0
        self._report = Count(task, len(references) + len(seeds) + cuts)
        maps, self._peaks = self._seen(references)
        self._typical = Typical(maps)
        self._references = _Images(
            seeds=torch.tensor(references), maps=maps, own=torch.arange(len(maps)).to(maps.device)
        )
        maps = self._maps(seeds.tolist())
        self._ranked = _Images(seeds=seeds, maps=maps, own=torch.full((len(maps),), -1).to(maps.device))

    def oddity(self) -> Tensor:
        """Return the oddity of each top image [C, K]: the mean over its positions."""
        return self._typical.oddity(self._ranked.maps).mean((1, 2)).cpu()[self._rows]

    @torch.no_grad()
    def gain(self) -> Tensor:
        """Return the gain of each unit [C]: how much more typical its images become when it is held at its level.

        That is the mean over the half of its images that gain most: a fault need not be in all of them. After its top
        images the units that gain most are cut in more images, those of the references that activate them most.
        """
        remainder = Remainder.of(self._task.generator, self._layer)
        first = self._gains(remainder, self._ranked, self._rows, torch.arange(len(self._rows)))
        closer = first.mean(1).topk(self._closer).indices
        rows = self._peaks[:, closer].topk(self._more, dim=0).indices.T
        more = self._gains(remainder, self._references, rows, closer)
        gain = _of_upper_half(first)
        gain[closer] = _of_upper_half(torch.cat([first[closer], more], 1))
        return gain

    def _gains(self, remainder: Remainder, images: _Images, rows: Tensor, units: Tensor) -> Tensor:
        """Return the gains [U, K] of `units` [U] in the images `rows` [U, K]; each image runs up to the layer once."""
        used, image = rows.flatten().unique(return_inverse=True)
        image, order = image.sort(stable=True)
        unit = units.repeat_interleave(rows.shape[1])[order]

        def gains_of(start: int) -> Tensor:
            here = used[start : start + BATCH]
            prefix, own = remainder.prefix(images.seeds[here].tolist()), images.own[here]
            before = self._typical.distance(images.maps[here], own)
            found = []
            for pairs in _evenly(((image >= start) & (image < start + BATCH)).nonzero().flatten()):
                row, of = image[pairs] - start, unit[pairs]
                changed = self._task.features.maps(remainder(prefix.rows(row), cut(of, self.levels[of])))
                found.append(_largest(before[row] - self._typical.distance(changed, own[row])))
                self._report(len(pairs))
            return torch.cat(found)

        def kept_gains_of(start: int) -> Tensor:
            which = "more" if images is self._references else "first"
            count = int(((image >= start) & (image < start + BATCH)).sum())
            return self._kept(f"{which} gains/{start}", lambda: {"": gains_of(start)}, count)[""]

        gains = torch.empty(len(order))
        gains[order] = self._task.group.mapped(kept_gains_of, range(0, len(used), BATCH)).cpu()
        return gains.view(rows.shape)

    def _seen(self, seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return the feature maps [N, D, h, w] of the images of `seeds`, and each unit's peak in them [N, C]."""
        peaks: dict[int, Tensor] = {}

        def on_output(output: Any, call: int) -> None:
            peaks[0] = torch.maximum(peaks[0], _peaks(output)) if call else _peaks(output)

        def seen(part: Sequence[int]) -> dict[str, Tensor]:
            with hooked(self._task.generator.module, {self._layer: on_output}):
                maps = feature_maps(self._task.generator, self._task.features, part, self._report)
            return {"maps": maps, "peaks": peaks[0]}

        found: dict[int, dict[str, Tensor]] = {}

        def maps_of(part: Sequence[int]) -> Tensor:
            found[part[0]] = self._kept(f"references/{part[0]}", lambda: seen(part), len(part))
            return found[part[0]]["maps"].to(self._task.generator.device)

        group, parts = self._task.group, list(batched(seeds))
        return group.mapped(maps_of, parts), group.mapped(lambda part: found[part[0]]["peaks"], parts)

    def _maps(self, seeds: Sequence[int]) -> Tensor:
        """Return the feature maps [N, D, h, w] of the images of `seeds`."""
        generator, features = self._task.generator, self._task.features

        def maps_of(part: Sequence[int]) -> Tensor:
            found = self._kept(
                f"ranked/{part[0]}", lambda: {"": feature_maps(generator, features, part, self._report)}, len(part)
            )
            return found[""].to(generator.device)

        return self._task.group.mapped(maps_of, list(batched(seeds)))

    def _kept(self, name: str, compute: Callable[[], dict[str, Tensor]], count: int) -> dict[str, Tensor]:
        """Return what `compute` returns, or did in a search that failed; `count` images are reported either way."""
        kept, name = self._task.kept, f"{self._layer}/{name}"
        if kept.knows(name):
            self._report(count)
        return kept.several(name, compute)


def cut(units: Tensor, levels: Tensor) -> Callable[[Tensor], Tensor]:
    """Return a function that limits, in row i of an activation, unit `units[i]` to at most `levels[i]`."""
    rows = torch.arange(len(units))

    def change(y: Tensor) -> Tensor:
        level = levels.to(y).view(-1, *[1] * (y.ndim - 2))
        y = y.clone()
        y[rows, units] = edited(y[rows, units], Terms.of(torch.ones_like(level), level, level))
        return y

    return change


def _peaks(output: Any) -> Tensor:
    """Return the peak of each unit in each image [N, C] of a layer's output."""
    tensor = tensor_of(output)
    assert tensor is not None, "a ranked layer outputs a tensor"
    return tensor.reshape(*tensor.shape[:2], -1).amax(2).float().cpu()


def _evenly(pairs: Tensor) -> Sequence[Tensor]:
    """Split into parts of about equal size, at most BATCH."""
    return pairs.tensor_split(-(-len(pairs) // BATCH))


def _of_upper_half(gains: Tensor) -> Tensor:
    """Return the mean of the upper half of each row [U, K]."""
    return gains.topk(-(-gains.shape[1] // 2), 1).values.mean(1)


def _largest(change: Tensor) -> Tensor:
    """Return the mean of the largest entries of each map [N, h, w]."""
    places = change.flatten(1)
    return places.topk(max(1, round(PLACES * places.shape[1])), 1).values.mean(1)
