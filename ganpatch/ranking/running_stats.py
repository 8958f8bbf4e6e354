"""Running statistics over a stream of batches: update(batch) -> merge(other) -> result().

    top = TopK(units=512, k=12)
    for scores, seeds in stream:            # [N, 512], [N]
        top.update(scores, seeds)
    top.result()                            # best first: scores [512, 12], seeds [512, 12]

Memory never depends on the number of samples. Results do not depend on batch size, order or how the samples
were split over processes: ties go to the smaller seed, and each image's pixels are drawn by its seed alone.
State starts on the CPU; `move` moves it to the device of the activations, and back for merging.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

_NO_SEED = torch.iinfo(torch.int64).max
_BLOCK = 16
_AT_ONCE = 1 << 20  # activations compared at once: most of them stay in the processor's cache

MapsOf = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Top:
    """The K best images per unit: `scores` [C, K] descending, `seeds` [C, K], `maps` [C, K, h, w]."""

    scores: Tensor
    seeds: Tensor
    maps: Tensor


class Running:
    """A state that consists of tensors, and can be moved, saved and restored."""

    def tensors(self) -> dict[str, Tensor]:
        """Return the state, as live tensors."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}

    def take(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore a state that `tensors` returned; raise ValueError if it does not fit."""
        for name, own in self.tensors().items():
            if (tensors[name].shape, tensors[name].dtype) != (own.shape, own.dtype):
                raise ValueError(f"{name} is {list(tensors[name].shape)}, not {list(own.shape)}")
            setattr(self, name, tensors[name])

    def move(self, device: torch.device) -> None:
        """Move the state to a device, if it is on another one."""
        if any(tensor.device != device for tensor in self.tensors().values()):
            self.take({name: tensor.to(device) for name, tensor in self.tensors().items()})


class TopK(Running):
    """The k highest-scoring seeds per unit, each with a small map of where the unit is active."""

    def __init__(self, units: int, k: int, map_size: tuple[int, int] = (0, 0)) -> None:
        self.scores = torch.full((units, k), -torch.inf)
        self.seeds = torch.full((units, k), _NO_SEED)
        self.maps = torch.zeros(units, k, *map_size, dtype=torch.float16)
        self.slots = torch.arange(k).repeat(units, 1)  # where in `maps` each image's map is: they are not moved
        self._last: Sequence[int] = ()
        self._highest = -1

    def update(self, scores: Tensor, seeds: Sequence[int], maps_of: MapsOf | None = None) -> Tensor:
        """Add `scores` [N, C] of `seeds`; `maps_of(rows [M], units [M])` returns maps [M, h, w] of those that enter.

        Returns the rows [M] that entered, repeated for every unit. If the same seeds follow directly, they are another
        run of the layer, and the best run of an image counts.
        """
        again, self._last = seeds == self._last, seeds
        ordered = seeds[0] > self._highest and all(map(operator.lt, seeds, seeds[1:]))
        self._highest = max(self._highest, *seeds)
        units = (scores.amax(0) >= self.scores[:, -1]).nonzero().flatten()
        if not len(units):
            return units
        arrived = torch.as_tensor(seeds).to(scores.device).expand(len(units), -1)
        kept = self._keep_best(units, scores.T[units], arrived, repeated=again, ordered=ordered)
        place, position = (kept >= self.scores.shape[1]).nonzero(as_tuple=True)
        rows = kept[place, position] - self.scores.shape[1]
        if maps_of is not None:
            free = self._reassign(units, kept, place, position)
            self.maps[units[place], free] = maps_of(rows, units[place]).to(self.maps.dtype)
        return rows

    def merge(self, other: "TopK") -> None:
        """Add the state of another process."""
        units = torch.arange(len(self.scores))
        joined = torch.cat([_picked(self.maps, self.slots), _picked(other.maps, other.slots)], 1)
        self.maps = _picked(joined, self._keep_best(units, other.scores, other.seeds))
        self.slots = torch.arange(self.scores.shape[1]).repeat(len(units), 1)
        self._highest = self._highest_kept()

    def take(self, tensors: Mapping[str, Tensor]) -> None:
        super().take(tensors)
        self._highest = self._highest_kept()

    def winners(self) -> set[int]:
        """Return the seeds that are among the best of some unit."""
        return set(self.seeds.flatten().tolist()) - {_NO_SEED}

    def result(self) -> Top:
        """Return the best images, best first, ties by the smaller seed."""
        filled = int((self.seeds[0] != _NO_SEED).sum()) if len(self.seeds) else 0
        maps = _picked(self.maps, self.slots[:, :filled])
        return Top(scores=self.scores[:, :filled], seeds=self.seeds[:, :filled], maps=maps)

    def _keep_best(
        self, units: Tensor, scores: Tensor, seeds: Tensor, *, repeated: bool = False, ordered: bool = False
    ) -> Tensor:
        """Merge `scores`, `seeds` [U, N] into the rows `units`; return the indices kept among (old | new) [U, k].

        `ordered` says that the seeds ascend and all follow the old ones, so a stable sort by score is enough.
        """
        joined, names = torch.cat([self.scores[units], scores], 1), torch.cat([self.seeds[units], seeds], 1)
        if repeated:
            joined, names = _without_repeats(joined, names)
        if ordered:
            best = joined.argsort(dim=1, descending=True, stable=True)
        else:
            by_seed = names.argsort(1)
            best = by_seed.gather(1, joined.gather(1, by_seed).argsort(dim=1, descending=True, stable=True))
        kept = best[:, : self.scores.shape[1]]
        self.scores[units], self.seeds[units] = joined.gather(1, kept), names.gather(1, kept)
        return kept

    def _highest_kept(self) -> int:
        return int(torch.where(self.seeds == _NO_SEED, -1, self.seeds).amax()) if self.seeds.numel() else -1

    def _reassign(self, units: Tensor, kept: Tensor, place: Tensor, position: Tensor) -> Tensor:
        """Return the slots [M] of the entries that leave, for the new entries at `place` and `position` of `kept`."""
        k, old = self.scores.shape[1], self.slots[units]
        stays = old.new_zeros(len(old), k + 1, dtype=torch.bool).scatter_(1, kept.clamp(max=k), True)[:, :k]
        free = old[~stays]
        slots = old.gather(1, kept.clamp(max=k - 1))
        slots[place, position] = free
        self.slots[units] = slots
        return free


def _without_repeats(scores: Tensor, seeds: Tensor) -> tuple[Tensor, Tensor]:
    """Remove all but the best score of each seed [U, N]."""
    order = scores.argsort(dim=1, descending=True, stable=True)
    order = order.gather(1, seeds.gather(1, order).argsort(dim=1, stable=True))
    ranked = seeds.gather(1, order)
    repeats = torch.zeros_like(seeds, dtype=torch.bool)
    repeats.scatter_(1, order[:, 1:], ranked[:, 1:] == ranked[:, :-1])
    return scores.masked_fill(repeats, -torch.inf), seeds.masked_fill(repeats, _NO_SEED)


class Moments(Running):
    """Mean activation, share of pixels above zero, and peak per unit; sums in float64, counts in int64."""

    def __init__(self, units: int) -> None:
        self.total = torch.zeros(units, dtype=torch.float64)
        self.positive = torch.zeros(units, dtype=torch.int64)
        self.pixels = torch.zeros((), dtype=torch.int64)
        self.peak = torch.full((units,), -torch.inf)

    def update(self, activation: Tensor, sums: Tensor, peaks: Tensor) -> None:
        """Add an activation [N, C, P], with its sum and maximum per image and unit, both [N, C]."""
        self.total += sums.double().sum(0)
        self.positive += _positive(activation)
        self.pixels += activation.shape[0] * activation.shape[2]
        self.peak = torch.maximum(self.peak, peaks.amax(0))

    def merge(self, other: "Moments") -> None:
        """Add the state of another process."""
        self.total += other.total
        self.positive += other.positive
        self.pixels += other.pixels
        self.peak = torch.maximum(self.peak, other.peak)

    def result(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return mean, firing rate and peak, each [C] float32."""
        return (self.total / self.pixels).float(), (self.positive / self.pixels).float(), self.peak


class QuantileSample(Running):
    """A sample of at most about `size` activations per unit, for quantiles over all pixels of all images.

    All pixels are kept while `images * pixels <= size`; the quantiles are then exact. Otherwise each image contributes
    the same number of pixels, drawn by its seed. If there are more images than `size`, a share of them is drawn.
    """

    def __init__(self, units: int, *, pixels: int, images: int, size: int = 16384) -> None:
        self._pixels, self._every = pixels, images * pixels <= size
        self._each = pixels if self._every else max(1, size // images)
        self._share = min(1.0, size / images)
        self.count = 0
        self.values = torch.empty(units, min(images * pixels, int(1.1 * size) + 64))

    def update(self, activation: Tensor, seeds: Sequence[int]) -> None:
        """Add an activation [N, C, P] of `seeds` [N]."""
        if self._every:
            self._append(activation.transpose(0, 1))
            return
        words = _words(seeds, 1 + self._each)
        places = torch.from_numpy((words[:, 1:] % np.uint64(self._pixels)).astype(np.int64)).to(activation.device)
        drawn = activation.gather(2, places.unsqueeze(1).expand(-1, activation.shape[1], -1)).transpose(0, 1)
        if self._share < 1:
            (rows,) = np.nonzero(words[:, 0] < np.uint64(int(self._share * 2**64)))
            drawn = drawn[:, torch.from_numpy(rows).to(activation.device)]
        self._append(drawn)

    def merge(self, other: "QuantileSample") -> None:
        """Add the state of another process."""
        self._append(other.tensors()["values"].unsqueeze(2))

    def result(self, levels: Sequence[float]) -> list[Tensor]:
        """Return the quantile [C] at each level in (0, 1), with linear interpolation."""
        tail = _tail(self.count, min(levels))
        highest = _highest(self.values[:, : self.count], tail)
        return [_quantile(highest, self.count, level) for level in levels]

    def tensors(self) -> dict[str, Tensor]:
        """Return the values kept so far."""
        return {"values": self.values[:, : self.count]}

    def take(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore values that `tensors` returned; raise ValueError if they do not fit."""
        values = tensors["values"]
        if values.shape[:1] != self.values.shape[:1] or values.dtype != self.values.dtype:
            raise ValueError(f"values are {list(values.shape)}, not of {len(self.values)} units")
        self.values, self.count = self.values.to(values.device), 0
        self._append(values.unsqueeze(2))

    def _append(self, values: Tensor) -> None:
        """Keep `values` [C, M, each], as far as there is space."""
        stop = min(self.count + values.shape[1] * values.shape[2], self.values.shape[1])
        self.values[:, self.count : stop] = values.flatten(1)[:, : stop - self.count]
        self.count = stop


def _words(seeds: Sequence[int], count: int) -> Any:
    """Return `count` random 64-bit words [N, count] per seed: splitmix64 (Steele et al. 2014), vectorised."""
    state: Any = np.asarray(seeds, dtype=np.uint64)[:, None] * np.uint64(count) + np.arange(
        1, count + 1, dtype=np.uint64
    )
    mixed = state * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _positive(activation: Tensor) -> Tensor:
    """Count per unit the entries of an activation [N, C, P] above zero, [C].

    As float32, which holds counts up to 2^24 exactly: torch sums booleans six times slower.
    """
    _, units, pixels = activation.shape
    counts = torch.zeros(units, dtype=torch.int64, device=activation.device)
    some = max(1, _AT_ONCE // pixels)
    for images in activation.split(max(1, _AT_ONCE // (units * pixels))):
        for first, part in zip(range(0, units, some), images.split(some, 1), strict=True):
            above = torch.gt(part, 0, out=torch.empty(part.shape, device=part.device))
            counts[first : first + some] += above.sum(2).long().sum(0)
    return counts


def _highest(values: Tensor, count: int) -> Tensor:
    """Return the `count` highest of `values` [C, S], descending; they are in the blocks with the highest maxima."""
    blocks = values.shape[1] // _BLOCK
    if blocks < 2 * count:
        return values.topk(count, 1).values
    blocked = values[:, : blocks * _BLOCK].unflatten(1, (_BLOCK, blocks))
    chosen = blocked.amax(1).topk(count, 1).indices
    candidates = blocked.gather(2, chosen.unsqueeze(1).expand(-1, _BLOCK, -1)).flatten(1)
    return torch.cat([candidates, values[:, blocks * _BLOCK :]], 1).topk(count, 1).values


def quantile_of(values: Tensor, level: float) -> Tensor:
    """Return the quantile of each row of `values` [C, S] at a level in (0, 1), for more values than torch allows."""
    count = values.shape[1]
    return _quantile(_highest(values, _tail(count, level)), count, level)


def _tail(count: int, level: float) -> int:
    """Return how many of the highest of `count` values are needed for a quantile."""
    return min(count, int(count * (1 - level)) + 2)


def _quantile(highest: Tensor, count: int, level: float) -> Tensor:
    """Return a quantile of `count` values from the `highest` of them [C, T], descending."""
    place = (1 - level) * (count - 1)
    above = int(place)
    below = min(above + 1, highest.shape[1] - 1)
    return torch.lerp(highest[:, above], highest[:, below], place - above)


def _picked(values: Tensor, places: Tensor) -> Tensor:
    """Gather `values` [U, M, h, w] at `places` [U, k] along dimension 1."""
    return values[torch.arange(len(values)).unsqueeze(1), places]
