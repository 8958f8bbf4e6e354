"""Dissecting: measure the agreement of units and concepts, in the same streaming pass as ranking.

    dissection = dissect(generator, load_segmenter("churches", generator), layers=["layer4"], seeds=range(1000))
    dissection.save("run")

Thresholds come from a sample of other seeds, after the highest of `seeds`. The activations of a batch are kept only
until its images are segmented. With `partial`, an interrupted pass resumes.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ganpatch.dissection.iou import ConceptCounts
from ganpatch.dissection.result import Dissection, LayerDissection
from ganpatch.dissection.thresholds import LabelledSample, best_thresholds, quantile_thresholds
from ganpatch.errors import GanpatchError
from ganpatch.forward.activations import BATCH, OnActivation, Progress, batched, stream, unseen
from ganpatch.forward.processes import ALONE, Group
from ganpatch.forward.resumable_pass import run_pass
from ganpatch.generator.generator import Generator
from ganpatch.number_ranges import format_spans
from ganpatch.ranking.layer_stats import Plan
from ganpatch.ranking.ranker import Ranker, check_choices, chosen_layers
from ganpatch.segmenters.kept_activations import KeptActivations
from ganpatch.segmenters.loading import Segmenter

THRESHOLD_IMAGES = 96
BEST = "best"
_QUANTILE = re.compile(r"q(0?\.\d+)")
_STATE, _LABELS = "dissect", "labels of pixels"
_AT_ONCE = 64  # units whose thresholds are found at once


def dissect(
    generator: Generator,
    segmenter: Segmenter,
    layers: Iterable[str] = (),
    seeds: Sequence[int] = range(1000),
    *,
    threshold: str = BEST,
    k: int = 12,
    batch_size: int = BATCH,
    progress: Progress = unseen,
    partial: Path | None = None,
    group: Group = ALONE,
) -> Dissection:
    """Rank the units of `layers` over `seeds` and measure the IoU of each with each concept of `segmenter`.

    `threshold` is "best", which maximises I/H per unit and concept, or a quantile per unit, "q0.99".
    Raises GanpatchError if a layer does not exist or has no maps, or if the segmenter does not fit.
    """
    names = chosen_layers(generator, layers)
    check_choices(seeds, k, "max")
    _level_of(threshold)
    start = max(seeds) + 1
    behind = range(start, start + min(THRESHOLD_IMAGES, max(8, len(seeds))))
    ranker = Ranker(Plan.of(generator, names, seeds, k, "max"))
    other = _Other(generator=generator, segmenter=segmenter, layers=names, seeds=behind, batch_size=batch_size)
    dissector = _Dissector(ranker, other, threshold)
    seconds = run_pass(
        generator, dissector, seeds, batch_size=batch_size, progress=progress, partial=partial, group=group
    )
    return Dissection(
        ranking=ranker.result(generator, seeds, seconds, group),
        segmenter=segmenter.name,
        threshold=threshold,
        threshold_seeds=format_spans(behind),
        concepts=segmenter.concepts,
        shares=dissector.shares(),
        layers={name: dissector.result(name) for name in names},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Other:
    """Images that are not counted, from which the thresholds of `layers` are estimated."""

    generator: Generator
    segmenter: Segmenter
    layers: tuple[str, ...]
    seeds: range
    batch_size: int

    def thresholds(self, level: float | None, group: Group) -> dict[str, Tensor]:
        """Find the thresholds of each layer: [C, K] that maximise I/H, or the [C, 1] at a quantile `level`."""
        parts = [part for part in group.gathered(self._pixels(group)) if part]
        labels = torch.cat([part[_LABELS] for part in parts])

        def found(values: Tensor) -> Tensor:
            if level is not None:
                return quantile_thresholds(values, level)
            return best_thresholds(values, labels, len(self.segmenter.concepts))[0]

        values = {layer: torch.cat([part[layer] for part in parts], 1) for layer in self.layers}
        return {layer: group.mapped(found, of_layer.split(_AT_ONCE)) for layer, of_layer in values.items()}

    def _pixels(self, group: Group) -> dict[str, Tensor]:
        """Return the labels [S] and activations [C, S] of some pixels of this process's share of the images."""
        kept, samples = KeptActivations([*self.layers, *self.segmenter.layers]), dict[str, LabelledSample]()
        seeds = [seed for part in group.share(list(batched(self.seeds, self.batch_size))) for seed in part]
        for part, images in stream(self.generator, kept.watch(), seeds, batch_size=self.batch_size):
            assert images is not None
            labels = kept.labels(self.segmenter, images)
            for layer in self.layers:
                if layer not in samples:
                    units, pixels = kept[layer].shape[1], labels[0].numel()
                    samples[layer] = LabelledSample(units, pixels=pixels, images=len(self.seeds))
                samples[layer].update_images(kept[layer], labels, part)
        found = {layer: sample.values for layer, sample in samples.items()}
        return found | {_LABELS: samples[self.layers[0]].labels} if samples else {}


class _Dissector:
    """A dissection in progress: a job for `run_pass`, which also ranks."""

    def __init__(self, ranker: Ranker, other: _Other, threshold: str) -> None:
        self.ranker, self.thresholds = ranker, dict[str, Tensor]()
        self._segmenter, self._other, self._threshold = other.segmenter, other, threshold
        self._kept = KeptActivations([*ranker.plan.layers, *self._segmenter.layers])
        self._counts: dict[str, ConceptCounts] = {}

    def described(self) -> dict[str, object]:
        return {
            **self.ranker.described(),
            "segmenter": self._segmenter.name,
            "concepts": list(self._segmenter.concepts),
            "threshold": self._threshold,
            "threshold_seeds": format_spans(self._other.seeds),
        }

    def begin(self, group: Group) -> None:
        """Find the thresholds, once and together, so that all processes use the same ones."""
        self.thresholds = group.from_first(self.thresholds)
        if not self.thresholds:
            self.thresholds = group.from_first(self._other.thresholds(_level_of(self._threshold), group))

    def watch(self) -> dict[str, OnActivation]:
        ranking, keeping = self.ranker.watch(), self._kept.watch()

        def both(layer: str) -> OnActivation:
            def on_activation(activation: Tensor, seeds: Sequence[int]) -> None:
                keeping[layer](activation, seeds)
                if layer in ranking:
                    ranking[layer](activation, seeds)

            return on_activation

        return {layer: both(layer) for layer in keeping}

    def finish_batch(self, seeds: Sequence[int], images: Tensor) -> None:
        labels = self._kept.labels(self._segmenter, images)
        for layer in self.ranker.plan.layers:
            self._count(layer).update(self._kept[layer], labels)
        self._kept.clear()
        self.ranker.finish_batch(seeds, images)

    def _count(self, layer: str) -> ConceptCounts:
        if layer not in self._counts:
            self._counts[layer] = ConceptCounts(self.thresholds[layer], len(self._segmenter.concepts))
        return self._counts[layer]

    def tensors(self) -> dict[str, Tensor]:
        state = self.ranker.tensors()
        for layer in self.ranker.plan.layers:
            state |= {f"{_STATE}/{layer}/{name}": t for name, t in self._count(layer).tensors().items()}
        return state

    def merge(self, tensors: Mapping[str, Tensor]) -> None:
        self.ranker.merge({key: t for key, t in tensors.items() if not key.startswith(f"{_STATE}/")})
        for layer in self.ranker.plan.layers:
            prefix = f"{_STATE}/{layer}/"
            own = {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}
            self.thresholds.setdefault(layer, own["thresholds"])
            other = ConceptCounts(self.thresholds[layer], len(self._segmenter.concepts))
            other.take(own)
            self._count(layer).merge(other)

    def shares(self) -> tuple[float, ...]:
        """Return the share of all pixels that each concept covers."""
        counts = self._count(self.ranker.plan.layers[0])
        return tuple((counts.of_concept / counts.pixels).tolist())

    def result(self, layer: str) -> LayerDissection:
        iou, accuracy = self._count(layer).result()
        return LayerDissection(
            thresholds=self.thresholds[layer].expand(-1, iou.shape[1]).clone(), iou=iou, accuracy=accuracy
        )


def _level_of(threshold: str) -> float | None:
    if threshold == BEST:
        return None
    match = _QUANTILE.fullmatch(threshold)
    if match is None or not 0 < float(match[1]) < 1:
        raise GanpatchError(f"threshold '{threshold}' is not '{BEST}' or a quantile like 'q0.99'")
    return float(match[1])
