"""The plan of a ranking, and all statistics of one layer, in one pass over its activations.

Example:

    tally = LayerTally(units=256, size=(8, 8), plan=plan)
    rows = tally.update(activation, seeds)          # [N, 256, 8, 8] of N seeds; the images that won a place
    tally.merge(other.tensors())                    # the state of another process or of an interrupted run
    tally.result()
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ganpatch.generator.generator import Generator
from ganpatch.number_ranges import format_spans
from ganpatch.option_values import Dtype, Score
from ganpatch.patch.patch_file import Model
from ganpatch.ranking.result import LayerRanking
from ganpatch.ranking.running_stats import Moments, QuantileSample, TopK, quantile_of

LARGEST_MAP = 16
_MOST_POOLED = 1 << 24  # activations gathered at once for the small maps
_LEAST = 1e-6  # mean peak of an image that is divided by
_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is ranked and how; a run can resume another run with an equal plan."""

    model: Model
    layers: tuple[str, ...]
    seeds: str
    n: int
    k: int
    score: Score
    dtype: Dtype = "float32"

    @classmethod
    def of(cls, generator: Generator, layers: tuple[str, ...], seeds: Sequence[int], k: int, score: Score) -> "Plan":
        return cls(
            model=Model.of(generator.name, generator.fingerprint),
            layers=layers,
            seeds=format_spans(seeds),
            n=len(seeds),
            k=min(k, len(seeds)),
            score=score,
            dtype=generator.compute.dtype,
        )

    def described(self) -> dict[str, object]:
        """Return the plan as plain values, for a file."""
        return {
            "weights": self.model.fingerprint.weights,
            "layers": list(self.layers),
            "seeds": self.seeds,
            "k": self.k,
            "score": self.score,
            "dtype": self.dtype,
        }


class LayerTally:
    """Top images, moments and a sample for quantiles, of `units` with maps of `size`."""

    def __init__(self, units: int, size: Sequence[int], plan: Plan) -> None:
        self.units, self.size, self._plan = units, tuple(size), plan
        pixels = math.prod(self.size)
        self._height, self._width = self.size if len(self.size) == 2 else (1, pixels)
        self.map_size = (min(self._height, LARGEST_MAP), min(self._width, LARGEST_MAP))
        self.top = TopK(units, plan.k, self.map_size)
        self.moments = Moments(units)
        self.sample = QuantileSample(units, pixels=pixels, images=plan.n)
        self.sums = torch.zeros(0, units)  # [N, C], of the last batch

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], plan: Plan) -> "LayerTally":
        """Create one from a state that `tensors` returned."""
        tally = cls(len(tensors["top.scores"]), tensors["size"].tolist(), plan)
        for part, owner in tally._parts().items():
            owner.take({name: tensors[f"{part}.{name}"] for name in owner.tensors()})
        return tally

    def update(self, activation: Tensor, seeds: Sequence[int]) -> Tensor:
        """Add an activation [N, C, ...]; return the rows [M] of images that are now among the best of some unit."""
        self._move(activation.device)
        flat = activation.reshape(*activation.shape[:2], -1)
        peaks, self.sums = flat.amax(2), flat.sum(2, dtype=torch.float32)
        scores = _scores(flat, peaks, self.sums, self._plan.score).float()
        self.moments.update(flat, self.sums, peaks)
        self.sample.update(flat, seeds)
        return self.top.update(scores, seeds, self._maps_of(activation))

    def merge(self, tensors: Mapping[str, Tensor]) -> None:
        """Add the state of another process."""
        other = LayerTally.of(tensors, self._plan)
        self._move(_CPU)
        self.top.merge(other.top)
        self.moments.merge(other.moments)
        self.sample.merge(other.sample)

    def tensors(self) -> dict[str, Tensor]:
        """Return the state."""
        state = {f"{part}.{name}": t for part, owner in self._parts().items() for name, t in owner.tensors().items()}
        return {**state, "size": torch.tensor(self.size, dtype=torch.int64)}

    @torch.inference_mode()
    def result(self) -> LayerRanking:
        """Return the statistics."""
        self._move(_CPU)
        top, (mean, firing_rate, peak) = self.top.result(), self.moments.result()
        q99, q999 = self.sample.result([0.99, 0.999])
        return LayerRanking(
            size=self.size,
            top_seeds=top.seeds,
            top_scores=top.scores,
            top_maps=top.maps,
            mean=mean,
            firing_rate=firing_rate,
            peak=peak,
            q99=q99,
            q999=q999,
        )

    def _parts(self) -> dict[str, TopK | Moments | QuantileSample]:
        return {"top": self.top, "moments": self.moments, "sample": self.sample}

    def _move(self, device: torch.device) -> None:
        for part in self._parts().values():
            part.move(device)

    def _maps_of(self, activation: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        chunk = max(1, _MOST_POOLED // (self._height * self._width))

        def maps_of(rows: Tensor, units: Tensor) -> Tensor:
            pooled = [
                self._pooled(activation[r, u]) for r, u in zip(rows.split(chunk), units.split(chunk), strict=True)
            ]
            return torch.cat(pooled).clamp(-6e4, 6e4)

        return maps_of

    def _pooled(self, maps: Tensor) -> Tensor:
        maps = maps.reshape(-1, self._height, self._width)
        same = self.map_size == (self._height, self._width)
        return maps if same else F.adaptive_max_pool2d(maps.unsqueeze(1), self.map_size)[:, 0]


def _scores(flat: Tensor, peaks: Tensor, sums: Tensor, score: Score) -> Tensor:
    """Score each image for each unit from activations [N, C, P], their maxima and their sums [N, C].

    A relative score is the unit's maximum divided by how active the image is altogether: the mean over all units of
    the absolute value of their maxima. It depends on the image alone, so images can be ranked in any order and parts.
    """
    if score == "max":
        return peaks
    if score == "mean":
        return sums / flat.shape[2]
    if score == "relative":
        return peaks / peaks.abs().mean(1, keepdim=True).clamp(min=_LEAST)
    return quantile_of(flat.flatten(0, 1), 0.99).view(peaks.shape)
