"""Groups of images that look alike at one place, where all other images look different.

    places = Places(maps)                                   # feature maps [N, D, h, w] of N images
    groups = groups_of_rows(places, {"layer2": levels}, count=24, most=16)
    groups[0].images, groups[0].locality, places.strength(groups[0], maps)

A fault that a generator learned from its training images, such as a date stamp, a border or a watermark, is pasted
onto a scene: the images that have it differ from all others at one place, and elsewhere they are like the others.
Images that share a kind of scene, such as night, differ at most places. So, with maps in standard deviations of each
feature at each position, and f[p, d] the mean of n images,

    shift(p)  = n * mean over d of f[p, d]^2                (about 1 for images that have nothing in common)
    locality  = mean of the largest sixteenth of shift(p) / median of shift(p)

The groups that are tried are the images in which a unit of some layer is most active, and least active, on average.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ganpatch.errors import GanpatchError

SHARE = 1 / 16  # share of the positions that count as the place of a group
ALIKE = 0.65  # cosine between shifts from which two groups share the same thing
_AT_ONCE = 64  # rows whose shifts are in memory at once
_FLAT = 1e-4  # of the largest deviation: a feature that varies less, at a position, is rounding
_LEAST = 1e-6  # squared shift that is divided by


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageGroup:
    """Images [n] by index that share something, at `places` [S], where their mean differs by `shift` [P, D].

    `start` says where the group is from: a unit of a layer, or images that a person named.
    """

    images: Tensor
    shift: Tensor
    places: Tensor
    locality: float
    start: str


class Places:
    """The features of N images at P positions, in standard deviations over the images."""

    def __init__(self, maps: Tensor) -> None:
        if maps.shape[2:].numel() < 1 / SHARE:
            raise GanpatchError(
                f"sets need features with at least {round(1 / SHARE)} positions, and these have "
                f"{maps.shape[2:].numel()}; use --features plain"
            )
        flat = _by_place(maps)
        deviation = flat.std(1, keepdim=True)
        self._mean = flat.mean(1, keepdim=True)
        self._scale = torch.where(deviation > _FLAT * deviation.max(), 1 / deviation, 0.0)
        self.features = self._scaled(flat)  # [P, N, D]

    def group(self, images: Tensor, start: str) -> ImageGroup:
        """Return the group of `images` [n]: where they differ from the others, and how much only there."""
        shift = self.features[:, images].mean(1)
        sizes = len(images) * shift.square().mean(1)
        return ImageGroup(
            images=images,
            shift=shift,
            places=sizes.topk(round(SHARE * len(sizes))).indices,
            locality=float(_locality(sizes)),
            start=start,
        )

    def localities(self, rows: Tensor) -> Tensor:
        """Return the locality [U] of the images of each row [U, n]."""
        found = []
        for part in rows.split(_AT_ONCE):
            member = torch.zeros(len(part), self.features.shape[1], device=part.device).scatter_(1, part, 1.0)
            shift = torch.einsum("un,pnd->upd", member / rows.shape[1], self.features)
            found.append(_locality(rows.shape[1] * shift.square().mean(2)))
        return torch.cat(found)

    def strength(self, group: ImageGroup, maps: Tensor) -> Tensor:
        """Return how much of what a group shares images with maps [N, D, h, w] show: 0 as all, 1 as the group [N]."""
        return self._strength(group, self._scaled(_by_place(maps)))

    def own_strength(self, group: ImageGroup) -> Tensor:
        """Return how much of what a group shares each of the N images shows [N]."""
        return self._strength(group, self.features)

    def _scaled(self, flat: Tensor) -> Tensor:
        return (flat - self._mean) * self._scale

    def _strength(self, group: ImageGroup, features: Tensor) -> Tensor:
        shift = group.shift[group.places]
        return torch.einsum("pnd,pd->n", features[group.places], shift) / shift.square().sum().clamp(min=_LEAST)


def groups_of_rows(places: Places, levels: Mapping[str, Tensor], *, count: int, most: int) -> list[ImageGroup]:
    """Return at most `most` groups of `count` images, the most local first, none of them alike.

    `levels` are the mean activations [N, C] of the images, per layer.
    """
    rows, names = [], []
    for layer, of_layer in levels.items():
        for sign, which in ((1, "most"), (-1, "least")):
            rows.append((sign * of_layer.float()).topk(count, 0).indices.T)
            names += [f"images that {which} activate unit {unit} of {layer}" for unit in range(of_layer.shape[1])]
    every = torch.cat(rows)
    order = places.localities(every).argsort(descending=True, stable=True).tolist()
    kept: list[ImageGroup] = []
    for group in _groups(places, every, names, order):
        if all(_cosine(group, other) < ALIKE for other in kept):
            kept.append(group)
            if len(kept) == most:
                break
    return kept


def _groups(places: Places, rows: Tensor, names: Sequence[str], order: Sequence[int]) -> Iterator[ImageGroup]:
    return (places.group(rows[row], names[row]) for row in order)


def _cosine(one: ImageGroup, other: ImageGroup) -> float:
    """Return the cosine between two shifts, at the places of both."""
    both = torch.cat([one.places, other.places]).unique()
    return float(torch.cosine_similarity(one.shift[both].flatten(), other.shift[both].flatten(), dim=0))


def _locality(sizes: Tensor) -> Tensor:
    """Return how local shifts of `sizes` [..., P] are."""
    top = sizes.topk(round(SHARE * sizes.shape[-1]), -1).values.mean(-1)
    return top / sizes.median(-1).values.clamp(min=1)


def _by_place(maps: Tensor) -> Tensor:
    """Return maps [N, D, h, w] as [P, N, D]."""
    return maps.flatten(2).permute(2, 0, 1).float()
