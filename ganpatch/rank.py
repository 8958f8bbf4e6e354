"""Ranking units: one streaming pass over the seeds keeps each unit's top-activating images and its statistics.

    ranking = rank(generator, layers=["layer4", "layer6"], seeds=range(1000))
    ranking.save("run")

Memory does not grow with the number of seeds. With `partial`, what is done is kept there when the run is interrupted,
and the next call with the same arguments goes on from it.
"""

import secrets
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ganpatch.activations import (
    BATCH,
    OnActivation,
    Progress,
    batched,
    default_layer,
    layer_facts,
    unseen,
)
from ganpatch.errors import GanpatchError
from ganpatch.generator import Generator
from ganpatch.layers import find_layer
from ganpatch.passes import run_pass
from ganpatch.patch import Model, Provenance
from ganpatch.pictures import Pixels, thumbnails
from ganpatch.ranking import LayerRanking, Ranking, Score
from ganpatch.spans import format_spans
from ganpatch.stats import Moments, QuantileSample, TopK
from ganpatch.version import VERSION

LARGEST_MAP = 16
_MOST_CACHED = 4096  # thumbnails kept before those that no longer win are dropped
_MOST_POOLED = 1 << 24  # activations gathered at once for the small maps


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a ranking is of; two runs with equal plans can continue each other."""

    model: Model
    layers: tuple[str, ...]
    seeds: str
    n: int
    k: int
    score: Score

    @classmethod
    def of(cls, generator: Generator, layers: tuple[str, ...], seeds: Sequence[int], k: int, score: Score) -> "Plan":
        return cls(
            model=Model.of(generator.name, generator.fingerprint),
            layers=layers,
            seeds=format_spans(seeds),
            n=len(seeds),
            k=min(k, len(seeds)),
            score=score,
        )


def rank(
    generator: Generator,
    layers: Iterable[str] = (),
    seeds: Sequence[int] = range(1000),
    *,
    k: int = 12,
    score: Score = "max",
    batch_size: int = BATCH,
    progress: Progress = unseen,
    partial: Path | None = None,
) -> Ranking:
    """Rank every unit of `layers` (none given: the layer at 8x8) over the images of `seeds`.

    An image's score for a unit is the `max`, the `mean` or the 99 % quantile (`q99`) of its activation map.
    Raises GanpatchError when a layer does not exist, does not run, or gives activations that are not finite.
    """
    names = chosen_layers(generator, layers)
    check_choices(seeds, k, score)
    ranker = Ranker(Plan.of(generator, names, seeds, k, score))
    seconds = run_pass(generator, ranker, seeds, batch_size=batch_size, progress=progress, partial=partial)
    return ranker.result(generator, seeds, seconds)


def chosen_layers(generator: Generator, layers: Iterable[str]) -> tuple[str, ...]:
    """Give `layers` without repeats, or the layer at 8x8; raise GanpatchError when one is missing."""
    names = tuple(dict.fromkeys(layers)) or (default_layer(layer_facts(generator)).name,)
    for name in names:
        find_layer(generator.module, name)
    return names


class _LayerStats:
    """All statistics of one layer, sized by its first activation."""

    def __init__(self, activation: Tensor, plan: Plan) -> None:
        units, self.size = activation.shape[1], tuple(activation.shape[2:])
        pixels = int(np.prod(self.size)) if self.size else 1
        height, width = self.size if len(self.size) == 2 else (1, pixels)
        self.map_size = (min(height, LARGEST_MAP), min(width, LARGEST_MAP))
        self.top = TopK(units, plan.k, self.map_size)
        self.moments = Moments(units)
        self.sample = QuantileSample(units, pixels=pixels, images=plan.n)
        self._score = plan.score

    def update(self, activation: Tensor, seeds: Sequence[int]) -> None:
        flat = activation.reshape(*activation.shape[:2], -1)
        peaks = flat.amax(2)
        self.top.update(_scores(flat, peaks, self._score).float().cpu(), seeds, self._maps_of(activation))
        self.moments.update(flat, peaks)
        self.sample.update(flat, seeds)

    def _maps_of(self, activation: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        height, width = self.size if len(self.size) == 2 else (1, activation[0, 0].numel())
        chunk = max(1, _MOST_POOLED // (height * width))

        def maps_of(rows: Tensor, units: Tensor) -> Tensor:
            pooled = [
                F.adaptive_max_pool2d(activation[r, u].reshape(-1, 1, height, width), self.map_size)[:, 0]
                for r, u in zip(rows.split(chunk), units.split(chunk), strict=True)
            ]
            return torch.cat(pooled).clamp(-6e4, 6e4)

        return maps_of

    def result(self) -> LayerRanking:
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

    def tensors(self) -> dict[str, Tensor]:
        """Give the state, as live tensors."""
        parts = {"top": self.top, "moments": self.moments, "sample": self.sample}
        return {
            f"{part}.{name}": tensor
            for part, owner in parts.items()
            for name, tensor in vars(owner).items()
            if isinstance(tensor, Tensor)
        }


class Ranker:
    """A ranking on its way: a job for `run_pass`."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.stats: dict[str, _LayerStats] = {}
        self.thumbnails: dict[int, Pixels] = {}
        self._restored: dict[str, dict[str, Tensor]] = {}

    def watch(self) -> dict[str, OnActivation]:
        return {layer: self._watcher(layer) for layer in self.plan.layers}

    def _watcher(self, layer: str) -> OnActivation:
        def on_activation(activation: Tensor, seeds: Sequence[int]) -> None:
            _refuse_not_finite(layer, activation, seeds)
            if layer not in self.stats:
                self.stats[layer] = self._new_stats(layer, activation)
            self.stats[layer].update(activation, seeds)

        return on_activation

    def _new_stats(self, layer: str, activation: Tensor) -> _LayerStats:
        stats = _LayerStats(activation, self.plan)
        for name, tensor in self._restored.pop(layer, {}).items():
            stats.tensors()[name].copy_(tensor)
        return stats

    def finish_batch(self, seeds: Sequence[int], images: Tensor) -> None:
        self.thumbnails.update(zip(seeds, thumbnails(images), strict=True))
        if len(self.thumbnails) > _MOST_CACHED:
            winners = self._winners()
            self.thumbnails = {seed: self.thumbnails[seed] for seed in winners & self.thumbnails.keys()}

    def _add_missing_thumbnails(self, generator: Generator) -> None:
        """Draw again the winners whose thumbnails an interruption lost."""
        missing = sorted(self._winners() - self.thumbnails.keys())
        for seeds in batched(missing):
            self.thumbnails.update(zip(seeds, thumbnails(generator.sample(seeds)), strict=True))

    def _winners(self) -> set[int]:
        return {seed for stats in self.stats.values() for seed in stats.top.result().seeds.flatten().tolist()}

    def result(self, generator: Generator, seeds: Sequence[int], seconds: float) -> Ranking:
        """Give the ranking; `seconds` is what it took."""
        self._add_missing_thumbnails(generator)
        return Ranking(
            run=secrets.token_hex(8),
            model=self.plan.model,
            latent=str(generator.latent),
            labels=str(generator.labels) if generator.labels else None,
            range=generator.range,
            seeds=seeds,
            score=self.plan.score,
            layers={name: self.stats[name].result() for name in self.plan.layers},
            thumbnails={seed: self.thumbnails[seed] for seed in self._winners()},
            versions={"ganpatch": VERSION, "torch": torch.__version__, "python": sys.version.split()[0]},
            created=Provenance.now().created,
            seconds=round(seconds, 3),
        )

    def tensors(self) -> dict[str, Tensor]:
        """Give the state of all layers."""
        return {f"{layer}/{name}": t for layer, stats in self.stats.items() for name, t in stats.tensors().items()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from a state; each layer takes its own when its first activation comes."""
        for key, tensor in tensors.items():
            layer, _, name = key.partition("/")
            self._restored.setdefault(layer, {})[name] = tensor

    def described(self) -> dict[str, object]:
        """Say what the ranking is of."""
        plan = self.plan
        return {
            "weights": plan.model.fingerprint.weights,
            "layers": list(plan.layers),
            "seeds": plan.seeds,
            "k": plan.k,
            "score": plan.score,
        }


def _scores(flat: Tensor, peaks: Tensor, score: Score) -> Tensor:
    """Score each image for each unit from activations [N, C, P] and their maxima [N, C]."""
    if score == "max":
        return peaks
    if score == "mean":
        return flat.mean(2)
    return torch.quantile(flat.float(), 0.99, dim=2)


def _refuse_not_finite(layer: str, activation: Tensor, seeds: Sequence[int]) -> None:
    if not torch.isfinite(activation.sum()):
        finite = torch.isfinite(activation).flatten(1).all(1)
        if not finite.all():
            seed = seeds[int((~finite).nonzero()[0])]
            raise GanpatchError(f"layer '{layer}' gives activations that are not finite at seed {seed}")


def check_choices(seeds: Sequence[int], k: int, score: str) -> None:
    """Raise GanpatchError for a ranking that cannot be."""
    if not len(seeds):
        raise GanpatchError("there are no seeds to rank; give at least one")
    if k < 1:
        raise GanpatchError(f"k is {k}; at least one image per unit is kept")
    if score not in get_args(Score):
        raise GanpatchError(f"score '{score}' is not one of {', '.join(get_args(Score))}")
