"""Dissecting: which unit is which concept, in the same streaming pass as ranking.

    dissection = dissect(generator, load_segmenter("churches", generator), layers=["layer4"], seeds=range(1000))
    dissection.save("run")

Thresholds come from a sample of other seeds, behind the highest of `seeds`. Each batch's activations are kept until
its images are segmented, and not longer. With `partial`, an interrupted pass goes on.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from ganpatch.activations import BATCH, OnActivation, Progress, stream, unseen
from ganpatch.dissection import Dissection, LayerDissection
from ganpatch.errors import GanpatchError
from ganpatch.generator import Generator
from ganpatch.iou import ConceptCounts
from ganpatch.passes import run_pass
from ganpatch.processes import ALONE, Group
from ganpatch.rank import Ranker, check_choices, chosen_layers
from ganpatch.segment import Segmenter
from ganpatch.segment.kept import KeptActivations
from ganpatch.spans import format_spans
from ganpatch.tally import Plan
from ganpatch.thresholds import LabelledSample, best_thresholds, quantile_thresholds

THRESHOLD_IMAGES = 96
BEST = "best"
_QUANTILE = re.compile(r"q(0?\.\d+)")
_STATE = "dissect"


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
    Raises GanpatchError when a layer does not exist, gives no maps, or the segmenter does not fit.
    """
    names = chosen_layers(generator, layers)
    check_choices(seeds, k, "max")
    level = _quantile_of(threshold)
    start = max(seeds) + 1
    other = range(start, start + min(THRESHOLD_IMAGES, max(8, len(seeds))))
    ranker = Ranker(Plan.of(generator, names, seeds, k, "max"))
    dissector = _Dissector(
        ranker, segmenter, threshold, other, lambda: _thresholds(generator, segmenter, names, other, level, batch_size)
    )
    seconds = run_pass(
        generator, dissector, seeds, batch_size=batch_size, progress=progress, partial=partial, group=group
    )
    return Dissection(
        ranking=ranker.result(generator, seeds, seconds, group),
        segmenter=segmenter.name,
        threshold=threshold,
        threshold_seeds=format_spans(other),
        concepts=segmenter.concepts,
        shares=dissector.shares(),
        layers={name: dissector.result(name) for name in names},
    )


class _Dissector:
    """A dissection on its way: a job for `run_pass`, which ranks as well."""

    def __init__(
        self, ranker: Ranker, segmenter: Segmenter, threshold: str, other: range, find: Callable[[], dict[str, Tensor]]
    ) -> None:
        self.ranker, self.thresholds = ranker, dict[str, Tensor]()
        self._segmenter, self._threshold, self._other, self._find = segmenter, threshold, other, find
        self._kept = KeptActivations([*ranker.plan.layers, *segmenter.layers])
        self._counts: dict[str, ConceptCounts] = {}

    def described(self) -> dict[str, object]:
        return {
            **self.ranker.described(),
            "segmenter": self._segmenter.name,
            "concepts": list(self._segmenter.concepts),
            "threshold": self._threshold,
            "threshold_seeds": format_spans(self._other),
        }

    def begin(self, group: Group) -> None:
        """Find the thresholds, once: all processes count above the same ones."""
        if group.is_first and not self.thresholds:
            self.thresholds = self._find()
        self.thresholds = group.from_first(self.thresholds)

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
        self.ranker.merge(tensors)
        for layer in self.ranker.plan.layers:
            prefix = f"{_STATE}/{layer}/"
            own = {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}
            self.thresholds.setdefault(layer, own["thresholds"])
            other = ConceptCounts(self.thresholds[layer], len(self._segmenter.concepts))
            other.take(own)
            self._count(layer).merge(other)

    def shares(self) -> tuple[float, ...]:
        """Give the share of all pixels that each concept covers."""
        counts = self._count(self.ranker.plan.layers[0])
        return tuple((counts.of_concept / counts.pixels).tolist())

    def result(self, layer: str) -> LayerDissection:
        iou, accuracy = self._count(layer).result()
        return LayerDissection(
            thresholds=self.thresholds[layer].expand(-1, iou.shape[1]).clone(), iou=iou, accuracy=accuracy
        )


def _thresholds(
    generator: Generator,
    segmenter: Segmenter,
    layers: Sequence[str],
    seeds: range,
    level: float | None,
    batch_size: int,
) -> dict[str, Tensor]:
    """Find the thresholds of `layers`, each [C, K] or [C, 1], from the images of `seeds`."""
    kept, samples = KeptActivations([*layers, *segmenter.layers]), dict[str, LabelledSample]()
    for part, images in stream(generator, kept.watch(), seeds, batch_size=batch_size):
        assert images is not None
        labels = kept.labels(segmenter, images)
        for layer in layers:
            if layer not in samples:
                units, pixels = kept[layer].shape[1], labels[0].numel()
                samples[layer] = LabelledSample(units, pixels=pixels, images=len(seeds))
            samples[layer].update_images(kept[layer], labels, part)
    if level is not None:
        return {layer: quantile_thresholds(sample.values, level) for layer, sample in samples.items()}
    concepts = len(segmenter.concepts)
    return {layer: best_thresholds(sample.values, sample.labels, concepts)[0] for layer, sample in samples.items()}


def _quantile_of(threshold: str) -> float | None:
    if threshold == BEST:
        return None
    match = _QUANTILE.fullmatch(threshold)
    if match is None or not 0 < float(match[1]) < 1:
        raise GanpatchError(f"threshold '{threshold}' is not '{BEST}' or a quantile like 'q0.99'")
    return float(match[1])
