"""Find the units of a layer that cause a concept: single units, optimised sets, and their effect on held-out seeds.

    causes = find_causes(generator, segmenter, "layer4", ["tree", "door"])
    causes.save("causes")

Training seeds, and held-out seeds for the curves, are disjoint. Every order is compared with random units. With
`partial`, an interrupted run is resumed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganpatch.causes.alphas import PRESETS, Alphas, Study
from ganpatch.causes.interventions import BATCH, Interventions, ablated, inserted, one_place, unchanged
from ganpatch.causes.result import Causes, ConceptCauses, Curve
from ganpatch.dissection.thresholds import LabelledSample, best_thresholds
from ganpatch.errors import GanpatchError, near_miss
from ganpatch.forward.activations import Progress, batched, unseen
from ganpatch.forward.saved_state import SavedState
from ganpatch.generator.backend import Backend
from ganpatch.generator.generator import Generator
from ganpatch.graph.prefix import Change, Prefix
from ganpatch.number_ranges import format_spans
from ganpatch.option_values import HELD_OUT_SEEDS, TRAINING_SEEDS
from ganpatch.patch.patch_file import Model
from ganpatch.ranking.running_stats import QuantileSample
from ganpatch.segmenters.loading import Segmenter

TRAINING, HELD_OUT = TRAINING_SEEDS, HELD_OUT_SEEDS
COUNTS = (2, 5, 10, 20, 30, 50)
RANDOM_DRAWS = 3
_LEAST_HOLDING = 8  # training images that must hold a concept
_SINGLE_IMAGES = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is measured: steps of the optimiser, positions by which an intervention grows, seeds, counts.

    `single` also measures every unit alone: one forward pass of 24 images per unit.
    """

    preset: str = "sparse"
    steps: int = 250
    radius: int = 1
    single: bool = False
    seeds: range = TRAINING
    held_out: range = HELD_OUT
    counts: tuple[int, ...] = COUNTS

    @classmethod
    def over(cls, images: int, held_out: int = len(HELD_OUT), **choices: Any) -> "Effort":
        """Return an effort that learns from this many images, and reports on other ones."""
        seeds, others = range(TRAINING.start, TRAINING.start + images), range(HELD_OUT.start, HELD_OUT.start + held_out)
        return cls(seeds=seeds, held_out=others, **choices)


def find_causes(
    generator: Generator,
    segmenter: Segmenter,
    layer: str,
    concepts: Sequence[str],
    effort: Effort | None = None,
    *,
    progress: Progress = unseen,
    partial: Path | None = None,
) -> Causes:
    """Return the units of `layer` that cause each of `concepts`, by interventions (Bau et al. 2019, section 3).

    Raises GanpatchError when the layer returns no maps, the generator or the segmenter has no gradient, the segmenter
    does not know a concept, or too few images hold it.
    """
    effort = effort or Effort()
    _refuse_graphs(generator)
    indices = {concept: segmenter.index(concept) for concept in dict.fromkeys(concepts)}
    if effort.preset not in PRESETS:
        hint = near_miss(effort.preset, PRESETS)
        raise GanpatchError(f"preset '{effort.preset}' is not one of {', '.join(PRESETS)}{hint}")
    if set(effort.seeds) & set(effort.held_out):
        raise GanpatchError(f"seeds {effort.held_out} are for training as well; held-out seeds must be others")
    bench = Interventions(generator, segmenter, layer)
    seen = _Seen(bench, effort.seeds)
    studies = {concept: seen.study(index) for concept, index in indices.items()}
    for concept, study in studies.items():
        if len(study.holding) < _LEAST_HOLDING:
            raise GanpatchError(
                f"'{concept}' is plain in only {len(study.holding)} of {len(effort.seeds)} images; "
                "causes need at least 8: use more --seeds, or another concept"
            )
    plan = _plan(generator, segmenter, layer, tuple(indices), effort)
    kept = _Kept(partial, plan, progress)
    try:
        run = _Run(bench, effort, studies, seen, kept)
        found = {concept: run.causes_of(concept) for concept in indices}
    except KeyboardInterrupt:
        kept.save(now=True)
        raise
    return Causes(
        model=Model.of(generator.name, generator.fingerprint),
        layer=layer,
        channels=bench.units,
        size=bench.size,
        segmenter=segmenter.name,
        preset=effort.preset,
        steps=effort.steps,
        radius=effort.radius,
        seeds=format_spans(effort.seeds),
        held_out=format_spans(effort.held_out),
        all_concepts=segmenter.concepts,
        concepts=found,
        q99=seen.q99,
        q999=seen.q999,
        single=run.single,
    )


def _refuse_graphs(generator: Generator) -> None:
    if isinstance(generator.module, Backend):
        raise GanpatchError(
            f"{generator.name} is an ONNX graph, which has no gradients; causes are found by gradients: "
            "name the model in torch"
        )


def _plan(
    generator: Generator, segmenter: Segmenter, layer: str, concepts: tuple[str, ...], effort: Effort
) -> dict[str, object]:
    choices = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(effort).items()}
    choices |= {name: format_spans(choices[name]) for name in ("seeds", "held_out")}
    weights = generator.fingerprint.weights
    return {"weights": weights, "segmenter": segmenter.name, "layer": layer, "concepts": list(concepts), **choices}


class _Seen:
    """The training images before interventions: activations, presence of concepts, quantiles and IoU of each unit."""

    def __init__(self, bench: Interventions, seeds: Sequence[int]) -> None:
        height, width = bench.size
        quantiles = QuantileSample(bench.units, pixels=height * width, images=len(seeds))
        sample: LabelledSample | None = None
        prefixes, presence = [], []
        for part in batched(seeds, BATCH):
            prefix = bench.prefix(part)
            with torch.no_grad():
                probabilities = bench.probabilities(prefix, unchanged)
                presence.append(bench.presence(probabilities))
            labels = probabilities.argmax(1)
            sample = sample or LabelledSample(bench.units, pixels=labels[0].numel(), images=len(seeds))
            sample.update_images(prefix.activation, labels, part)
            quantiles.update(prefix.activation.flatten(2).float().cpu(), part)
            prefixes.append(prefix)
        assert sample is not None
        self.prefix, self.presence = Prefix.joined(prefixes), torch.cat(presence).cpu()
        self.q99, self.q999 = quantiles.result([0.99, 0.999])
        _, self.iou = best_thresholds(sample.values, sample.labels, self.presence.shape[1])

    def study(self, index: int) -> Study:
        """Return what is known of the concept at `index`; an insertion uses the mean activation where it is."""
        presence = self.presence[:, index]
        activation = self.prefix.activation.float().cpu()
        values = torch.einsum("nchw,nhw->c", activation, presence) / presence.sum().clamp(min=1e-9)
        return Study(prefix=self.prefix, presence=presence, iou=self.iou[:, index], values=values, index=index)


class _Kept:
    """What is done of a run, saved from time to time, and its progress."""

    def __init__(self, path: Path | None, plan: Mapping[str, object], progress: Progress) -> None:
        self._saved, self._progress = SavedState(path, plan), progress
        self.tensors, self.state = self._saved.read()
        self._done, self.total = 0, 1

    def advance(self, by: int) -> None:
        """Report that `by` more steps are done."""
        self._done += by
        self._progress(self._done, max(self.total, self._done))

    def save(self, *, now: bool = False) -> None:
        """Save what is done, if it is time."""
        if now or self._saved.is_due:
            self._saved.write(self.tensors, self.state)


class _Run:
    """The parts of a run in their order: single units, alphas, curves."""

    def __init__(
        self, bench: Interventions, effort: Effort, studies: Mapping[str, Study], seen: _Seen, kept: _Kept
    ) -> None:
        self._bench, self._effort, self._studies, self._seen, self._kept = bench, effort, studies, seen, kept
        orders = 2 + effort.single + RANDOM_DRAWS
        kept.total = len(studies) * (effort.steps + orders * len(effort.counts)) + effort.single * bench.units
        self.single = self._single() if effort.single else None
        prefixes = [bench.prefix(part) for part in batched(effort.held_out, BATCH)]
        self._held_out = Prefix.joined(prefixes)
        self._held_shares = torch.cat([bench.shares(prefix, unchanged) for prefix in prefixes])

    def causes_of(self, concept: str) -> ConceptCauses:
        study = self._studies[concept]
        alphas = self._alphas(concept)
        found = ConceptCauses(
            alpha=alphas,
            iou=study.iou,
            conditional_mean=study.values,
            ace=None if self.single is None else self.single[:, study.index],
            presence=self._held_shares[:, study.index].mean().item(),
            curves=(),
        )
        orders = {"alpha": found.ranked("alpha"), "iou": found.ranked("iou")}
        if self.single is not None:
            orders["ace"] = found.ranked("ace")
        for draw in range(RANDOM_DRAWS):
            source = torch.Generator().manual_seed(draw)
            orders[f"random {draw + 1}"] = torch.randperm(self._bench.units, generator=source).tolist()
        curves = tuple(self._curve(concept, by, order) for by, order in orders.items())
        return replace(found, curves=curves)

    def _single(self) -> Tensor:
        """Measure each unit alone [C, K]: the share of its pixels that ablation removes from each concept."""
        bench, tensors = self._bench, self._kept.tensors
        each = max(1, _SINGLE_IMAGES // len(self._studies))
        shares = [study.presence.mean((1, 2)) for study in self._studies.values()]
        holding = [share.topk(min(each, len(share))).indices for share in shares]
        prefix = self._seen.prefix.rows(torch.cat(holding).unique())
        tensors.setdefault("single", torch.zeros(bench.units, len(bench.segmenter.concepts)))
        start = int(self._kept.state.get("single", 0))
        self._kept.advance(start)
        before = _presence(bench, prefix, unchanged)
        for unit in range(start, bench.units):
            after = _presence(bench, prefix, ablated(torch.tensor([unit])))
            tensors["single"][unit] = (before - after) / before.clamp(min=1e-6)
            self._kept.state["single"] = unit + 1
            self._kept.advance(1)
            self._kept.save()
        return tensors["single"]

    def _alphas(self, concept: str) -> Tensor:
        alphas = Alphas(self._bench, self._studies[concept], PRESETS[self._effort.preset], self._effort.radius)
        group = f"alphas/{concept}/"
        kept = {key.removeprefix(group): t for key, t in self._kept.tensors.items() if key.startswith(group)}
        if kept:
            alphas.restore(kept)
        self._kept.advance(alphas.step)
        while alphas.step < self._effort.steps:
            alphas.descend()
            self._kept.tensors |= {group + name: tensor.clone() for name, tensor in alphas.tensors().items()}
            self._kept.advance(1)
            self._kept.save()
        return alphas.alpha.detach().clone()

    def _curve(self, concept: str, by: str, order: Sequence[int]) -> Curve:
        key = f"{concept}/{by}"
        counts = tuple(count for count in self._effort.counts if count <= self._bench.units)
        found: list[list[float]] = self._kept.state.setdefault(key, [])
        self._kept.advance(len(found))
        for count in counts[len(found) :]:
            found.append(list(self._effect(self._studies[concept], torch.tensor(order[:count]))))
            self._kept.advance(1)
            self._kept.save()
        removed, ace = zip(*found, strict=True)
        return Curve(by=by, units=counts, removed=removed, ace=ace)

    def _effect(self, study: Study, units: Tensor) -> tuple[float, float]:
        """Measure on held-out seeds the share of pixels that ablating `units` removes, and their ACE."""
        k, values = study.index, study.values[units]
        before = self._held_shares[:, k].sum().item()
        after = effect = 0.0
        for rows in batched(range(len(self._held_shares)), BATCH):
            prefix = self._held_out.rows(rows)
            place = one_place(torch.ones(len(rows), *self._bench.size), rows[0])
            after += self._bench.shares(prefix, ablated(units))[:, k].sum().item()
            effect += self._read(prefix, inserted(units, values, 1.0, place), place, k)
            effect -= self._read(prefix, ablated(units, 1.0, place), place, k)
        return 1 - after / max(before, 1e-9), effect / max(before, 1e-9)

    def _read(self, prefix: Prefix, change: Change, places: Tensor, index: int) -> float:
        """Sum the concept's presence at `places` [N, h, w] with `change` made."""
        with torch.no_grad():
            presence = self._bench.presence(self._bench.probabilities(prefix, change))[:, index].cpu()
        return (presence * places).sum().item()


def _presence(bench: Interventions, prefix: Prefix, change: Change) -> Tensor:
    """Return the mean probability of each concept over all images, [K]."""
    with torch.no_grad():
        return bench.probabilities(prefix, change).mean((0, 2, 3)).cpu()
