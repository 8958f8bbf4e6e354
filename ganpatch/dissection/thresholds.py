"""The activation above which a unit counts as active, from a sample of pixels with activations and labels.

Example:

    sample = LabelledSample(units=256, pixels=4096, images=128)
    sample.update(maps, labels, seed)                     # maps [C, P], labels [P]
    thresholds, iou = best_thresholds(sample.values, sample.labels, concepts=10)      # [C, K] each
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ganpatch.dissection.iou import Upsampler

_SIZE = 24576
_EDGES = 128
_RAREST, _COMMONEST = 2e-4, 0.9  # shares of pixels above a threshold that are tried
_MOST_VALUES = 1 << 21


class LabelledSample:
    """About 25 000 pixels: the activations [C, S] of all units there, and the labels [S]."""

    def __init__(self, units: int, *, pixels: int, images: int, size: int = _SIZE) -> None:
        self._each = min(pixels, max(1, size // images))
        self._values = torch.empty(units, self._each * images)
        self._labels = torch.empty(self._each * images, dtype=torch.int64)
        self._count = 0

    def update(self, maps: Tensor, labels: Tensor, seed: int) -> None:
        """Add the maps [C, P] and labels [P] of one image; its pixels are drawn by its seed."""
        source = torch.Generator().manual_seed(seed ^ 0x1ABE1)
        places = torch.randperm(len(labels), generator=source)[: self._each]
        stop = self._count + self._each
        self._values[:, self._count : stop] = maps[:, places.to(maps.device)].cpu()
        self._labels[self._count : stop] = labels[places.to(labels.device)].cpu()
        self._count = stop

    def update_images(self, activation: Tensor, labels: Tensor, seeds: Sequence[int]) -> None:
        """Add the activation [N, C, h, w] and labels [N, H, W] of the images of `seeds`, upsampled to the labels."""
        upsampler = Upsampler((activation.shape[2], activation.shape[3]), (labels.shape[1], labels.shape[2]))
        for maps, of_image, seed in zip(activation, labels, seeds, strict=True):
            self.update(upsampler(maps).flatten(1), of_image.flatten(), seed)

    @property
    def values(self) -> Tensor:
        """The activations [C, S]."""
        return self._values[:, : self._count]

    @property
    def labels(self) -> Tensor:
        """The labels [S]."""
        return self._labels[: self._count]


def best_thresholds(values: Tensor, labels: Tensor, concepts: int) -> tuple[Tensor, Tensor]:
    """Return the threshold per unit and concept that maximises I / H (Bau et al. 2018, section 3.1), and the IoU at it.

    Both are [C, K]; the IoU is that of this sample. I is the mutual information of "the unit is above" and "the pixel
    belongs to the concept", H their joint entropy. `values` [C, S] are activations, `labels` [S]. A unit that never
    varies gets its highest value, so it is never active.
    """
    size = len(labels)
    edges = _edges(size)
    of_concept = torch.bincount(labels.clamp(0, concepts), minlength=concepts + 1)[:concepts].double()
    tile = max(1, _MOST_VALUES // size)
    parts = [_of_units(part, labels, edges, of_concept) for part in values.split(tile)]
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])


def quantile_thresholds(values: Tensor, level: float) -> Tensor:
    """Return the quantile `level` in (0, 1) of each unit's activations, [C, 1]."""
    place = min(values.shape[1], max(1, round((1 - level) * values.shape[1])))
    return values.topk(place, 1).values[:, -1:].clone()


def _of_units(values: Tensor, labels: Tensor, edges: Tensor, of_concept: Tensor) -> tuple[Tensor, Tensor]:
    """Try as thresholds the values at the positions `edges` of each unit's descending order."""
    units, size, concepts = len(values), len(labels), len(of_concept)
    falling, order = values.sort(1, descending=True)
    candidates = falling[:, edges].contiguous()
    starts = torch.searchsorted(-falling, -candidates)  # how many are above: equal values cannot be separated
    places = torch.arange(size).expand(units, -1).contiguous()
    piece = torch.searchsorted(starts, places, right=True)
    code = (torch.arange(units)[:, None] * (len(edges) + 1) + piece) * (concepts + 1) + labels.clamp(0, concepts)[order]
    pieces = torch.bincount(code.flatten(), minlength=units * (len(edges) + 1) * (concepts + 1))
    both = pieces.view(units, len(edges) + 1, concepts + 1).cumsum(1)[:, :-1, :concepts].double()
    above = starts.double().unsqueeze(2)
    quality = _information_ratio(both, above, of_concept.view(1, 1, -1), float(size))
    quality[starts == 0] = -1
    best, place = quality.max(1)
    iou = (both / (above + of_concept - both).clamp(min=1)).gather(1, place.unsqueeze(1))[:, 0]
    found = best >= 0
    lowest_above = falling.gather(1, (starts.gather(1, place) - 1).clamp(min=0))
    between = (candidates.gather(1, place) + lowest_above) / 2  # a threshold equal to a value would depend on rounding
    return torch.where(found, between, falling[:, :1]), iou.float() * found


def _information_ratio(both: Tensor, above: Tensor, of_concept: Tensor, size: float) -> Tensor:
    """Mutual information over joint entropy of two binary variables, from counts that broadcast."""
    joint = torch.stack([both, above - both, of_concept - both, size - above - of_concept + both])
    entropy = _entropy(joint / size)
    one = _entropy(torch.stack([above, size - above]) / size)
    other = _entropy(torch.stack([of_concept, size - of_concept]) / size)
    return (one + other - entropy) / entropy.clamp(min=1e-12)


def _entropy(shares: Tensor) -> Tensor:
    terms: Tensor = torch.xlogy(shares, shares.clamp(min=0))
    return -terms.sum(0)


def _edges(size: int) -> Tensor:
    """Return the numbers of pixels above a threshold to try: dense for small numbers, evenly spaced for large ones."""
    most = max(1.0, _COMMONEST * size)
    few = torch.logspace(math.log10(max(1.0, _RAREST * size)), math.log10(most), _EDGES)
    tried: Tensor = torch.cat([few, torch.linspace(1, most, _EDGES // 2)]).long().clamp(1, size - 1).unique()
    return tried
