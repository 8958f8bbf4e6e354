"""Running statistics over a stream of batches: update(batch) -> merge(other) -> result().

    top = TopK(units=512, k=12)
    for scores, seeds in stream:            # [N, 512], [N]
        top.update(scores, seeds)
    top.result()                            # best first: scores [512, 12], seeds [512, 12]

Memory never depends on the number of samples. Results do not depend on batch size, order or how the samples
were split over processes: ties go to the smaller seed, and pixels are sampled by a random generator per seed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_NO_SEED = torch.iinfo(torch.int64).max

MapsOf = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Top:
    """The best images per unit, K at most the samples: `scores` [C, K] falling, `seeds` [C, K], `maps` [C, K, h, w]."""

    scores: Tensor
    seeds: Tensor
    maps: Tensor


class TopK:
    """The k highest-scoring seeds per unit, each with a small map of where the unit fired."""

    def __init__(self, units: int, k: int, map_size: tuple[int, int] = (0, 0)) -> None:
        self.scores = torch.full((units, k), -torch.inf)
        self.seeds = torch.full((units, k), _NO_SEED)
        self.maps = torch.zeros(units, k, *map_size, dtype=torch.float16)
        self._last: Sequence[int] = ()

    def update(self, scores: Tensor, seeds: Sequence[int], maps_of: MapsOf | None = None) -> None:
        """Take `scores` [N, C] of `seeds`; `maps_of(rows [M], units [M])` gives maps [M, h, w] of those that enter.

        The same seeds directly again are another run of the layer: of an image's runs the best one counts.
        """
        again, self._last = seeds == self._last, seeds
        contenders = scores.T
        units = (contenders.amax(1) >= self.scores[:, -1]).nonzero().flatten()
        if not len(units):
            return
        arrived = torch.as_tensor(seeds).expand(len(units), -1)
        kept = self._keep_best(units, contenders[units], arrived, repeated=again)
        if maps_of is not None:
            k = self.scores.shape[1]
            self.maps[units] = _picked(self.maps[units], kept.clamp(max=k - 1))
            row, slot = (kept >= k).nonzero(as_tuple=True)
            self.maps[units[row], slot] = maps_of(kept[row, slot] - k, units[row]).to(self.maps.dtype)

    def merge(self, other: "TopK") -> None:
        """Take in what another process saw."""
        k, units = self.scores.shape[1], torch.arange(len(self.scores))
        joined = torch.cat([self.maps, other.maps], 1)
        kept = self._keep_best(units, other.scores, other.seeds)
        self.maps = _picked(joined, kept)
        assert kept.shape[1] == k

    def result(self) -> Top:
        """Give the best images, best first, ties by the smaller seed."""
        filled = int((self.seeds[0] != _NO_SEED).sum()) if len(self.seeds) else 0
        return Top(scores=self.scores[:, :filled], seeds=self.seeds[:, :filled], maps=self.maps[:, :filled])

    def _keep_best(self, units: Tensor, scores: Tensor, seeds: Tensor, *, repeated: bool = False) -> Tensor:
        """Merge `scores`, `seeds` [U, N] into the rows `units`; give the places kept among (old | new) [U, k]."""
        joined, names = torch.cat([self.scores[units], scores], 1), torch.cat([self.seeds[units], seeds], 1)
        if repeated:
            joined, names = _without_repeats(joined, names)
        by_seed = names.argsort(1)
        by_score = joined.gather(1, by_seed).argsort(dim=1, descending=True, stable=True)
        kept = by_seed.gather(1, by_score[:, : self.scores.shape[1]])
        self.scores[units], self.seeds[units] = joined.gather(1, kept), names.gather(1, kept)
        return kept


def _without_repeats(scores: Tensor, seeds: Tensor) -> tuple[Tensor, Tensor]:
    """Take out all but the best score of each seed [U, N]."""
    order = scores.argsort(dim=1, descending=True, stable=True)
    order = order.gather(1, seeds.gather(1, order).argsort(dim=1, stable=True))
    ranked = seeds.gather(1, order)
    repeats = torch.zeros_like(seeds, dtype=torch.bool)
    repeats.scatter_(1, order[:, 1:], ranked[:, 1:] == ranked[:, :-1])
    return scores.masked_fill(repeats, -torch.inf), seeds.masked_fill(repeats, _NO_SEED)


class Moments:
    """Mean activation, share of pixels above zero, and peak per unit; sums in float64, counts in int64."""

    def __init__(self, units: int) -> None:
        self.total = torch.zeros(units, dtype=torch.float64)
        self.positive = torch.zeros(units, dtype=torch.int64)
        self.pixels = torch.zeros((), dtype=torch.int64)
        self.peak = torch.full((units,), -torch.inf)

    def update(self, activation: Tensor, peaks: Tensor) -> None:
        """Take an activation [N, C, P] and its maximum per image and unit `peaks` [N, C]."""
        self.total += activation.sum(2, dtype=torch.float32).double().sum(0)
        self.positive += (activation > 0).sum((0, 2))
        self.pixels += activation.shape[0] * activation.shape[2]
        self.peak = torch.maximum(self.peak, peaks.amax(0))

    def merge(self, other: "Moments") -> None:
        """Take in what another process saw."""
        self.total += other.total
        self.positive += other.positive
        self.pixels += other.pixels
        self.peak = torch.maximum(self.peak, other.peak)

    def result(self) -> tuple[Tensor, Tensor, Tensor]:
        """Give mean, firing rate and peak, each [C] float32."""
        return (self.total / self.pixels).float(), (self.positive / self.pixels).float(), self.peak


class QuantileSample:
    """A sample of at most about `size` activations per unit, for quantiles over all pixels of all images.

    All pixels are kept while `images * pixels <= size`, and then the quantiles are exact. Otherwise each image gives
    equally many pixels, drawn by its seed; if there are more images than `size`, a share of them drawn by their seeds.
    """

    def __init__(self, units: int, *, pixels: int, images: int, size: int = 16384) -> None:
        self._pixels, self._every = pixels, images * pixels <= size
        self._each = pixels if self._every else max(1, size // images)
        self._share = min(1.0, size / images)
        room = min(images * pixels, int(1.1 * size) + 64)
        self.values = torch.empty(units, room)
        self.count = torch.zeros((), dtype=torch.int64)

    def update(self, activation: Tensor, seeds: Sequence[int]) -> None:
        """Take an activation [N, C, P] of `seeds` [N]."""
        start, room = int(self.count), self.values.shape[1]
        for image, seed in enumerate(seeds):
            places = self._places(seed)[: room - start]
            stop = start + len(places)
            torch.index_select(activation[image], 1, places, out=self.values[:, start:stop])
            start = stop
        self.count.fill_(start)

    def merge(self, other: "QuantileSample") -> None:
        """Take in what another process saw."""
        start, stop = int(self.count), int(self.count + other.count)
        self.values[:, start:stop] = other.values[:, : int(other.count)]
        self.count.fill_(stop)

    def result(self, levels: Sequence[float]) -> list[Tensor]:
        """Give the quantile [C] at each level in (0, 1), linear between neighbours."""
        count = int(self.count)
        tail = min(count, int(count * (1 - min(levels))) + 2)
        highest = self.values[:, :count].topk(tail, 1).values
        return [_quantile(highest, count, level) for level in levels]

    def _places(self, seed: int) -> Tensor:
        if self._every:
            return torch.arange(self._pixels)
        source = torch.Generator().manual_seed(seed ^ 0x5EED)
        if self._share < 1 and torch.rand((), generator=source) >= self._share:
            return torch.empty(0, dtype=torch.int64)
        return torch.randint(self._pixels, (self._each,), generator=source)


def _quantile(highest: Tensor, count: int, level: float) -> Tensor:
    """Read a quantile of `count` values from the `highest` of them [C, T], falling."""
    place = (1 - level) * (count - 1)
    above = int(place)
    below = min(above + 1, highest.shape[1] - 1)
    return torch.lerp(highest[:, above], highest[:, below], place - above)


def _picked(values: Tensor, places: Tensor) -> Tensor:
    """Gather `values` [U, M, h, w] at `places` [U, k] along dimension 1."""
    return values[torch.arange(len(values)).unsqueeze(1), places]
