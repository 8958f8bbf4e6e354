"""Ranking units: one streaming pass over the seeds keeps each unit's top-activating images and its statistics.

    ranking = rank(generator, layers=["layer4", "layer6"], seeds=range(1000))
    ranking.save("run")

Memory does not grow with the number of seeds. With `partial`, an interrupted run saves its state there, and the next
call with the same arguments resumes it. A `group` of processes shares the batches; each process gets the whole ranking,
and only the first, which saves it, gets the thumbnails.
"""

import secrets
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from ganpatch.errors import GanpatchError
from ganpatch.forward.activations import BATCH, OnActivation, Progress, unseen
from ganpatch.forward.default_layer import default_layer
from ganpatch.forward.layer_facts import list_layers
from ganpatch.forward.processes import ALONE, Group
from ganpatch.forward.resumable_pass import run_pass
from ganpatch.generator.generator import Generator
from ganpatch.generator.layers import find_layer
from ganpatch.option_values import Score
from ganpatch.pages.image_grids import input_pictures
from ganpatch.patch.patch_file import Provenance
from ganpatch.ranking.layer_stats import LayerTally, Plan
from ganpatch.ranking.result import Computed, Ranking
from ganpatch.ranking.thumbnails import Winners
from ganpatch.version import VERSION


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
    group: Group = ALONE,
) -> Ranking:
    """Rank every unit of `layers` (default: the layer at 8x8) over the images of `seeds`.

    An image's score for a unit is the `max`, the `mean` or the 99 % quantile (`q99`) of its activation map, or
    `relative`: the maximum divided by the mean absolute maximum of all units in this image.
    Raises GanpatchError if a layer does not exist, does not run, or has activations that are not finite.
    """
    names = chosen_layers(generator, layers)
    check_choices(seeds, k, score)
    ranker = Ranker(Plan.of(generator, names, seeds, k, score))
    seconds = run_pass(generator, ranker, seeds, batch_size=batch_size, progress=progress, partial=partial, group=group)
    return ranker.result(generator, seeds, seconds, group)


def chosen_layers(generator: Generator, layers: Iterable[str]) -> tuple[str, ...]:
    """Return `layers` without repeats, or the layer at 8x8; raise GanpatchError if one does not exist."""
    names = tuple(dict.fromkeys(layers)) or (default_layer(list_layers(generator)).name,)
    for name in names:
        find_layer(generator.module, name)
    return names


class Ranker:
    """A ranking in progress: a job for `run_pass`."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.tallies: dict[str, LayerTally] = {}
        self._winners = Winners()
        self._entered: list[Tensor] = []
        self._sums: list[tuple[str, Tensor]] = []

    def described(self) -> dict[str, object]:
        return self.plan.described()

    def begin(self, group: Group) -> None:
        """Do nothing: a ranking needs no preparation."""

    def watch(self) -> dict[str, OnActivation]:
        return {layer: self._watcher(layer) for layer in self.plan.layers}

    def _watcher(self, layer: str) -> OnActivation:
        def on_activation(activation: Tensor, seeds: Sequence[int]) -> None:
            if layer not in self.tallies:
                self.tallies[layer] = LayerTally(activation.shape[1], activation.shape[2:], self.plan)
            self._entered.append(self.tallies[layer].update(activation, seeds))
            self._sums.append((layer, self.tallies[layer].sums))

        return on_activation

    def finish_batch(self, seeds: Sequence[int], images: Tensor) -> None:
        self._refuse_not_finite(seeds)
        rows = torch.cat(self._entered).unique()
        if len(rows):
            self._winners.keep(
                [seeds[row] for row in rows.tolist()], images[rows], self._seeds_of_winners, self._most()
            )
        self._entered.clear()
        self._sums.clear()

    def _refuse_not_finite(self, seeds: Sequence[int]) -> None:
        """Raise GanpatchError if a sum of the batch is not finite; checked at once, because it waits for the device."""
        if torch.isfinite(torch.stack([sums.sum() for _, sums in self._sums])).all():
            return
        for layer, sums in self._sums:
            finite = torch.isfinite(sums).all(1)
            if not finite.all():
                seed = seeds[int((~finite).nonzero()[0])]
                raise GanpatchError(f"layer '{layer}' has activations that are not finite at seed {seed}")

    def _most(self) -> int:
        """Return the largest possible number of top images."""
        return sum(tally.units for tally in self.tallies.values()) * self.plan.k

    def _seeds_of_winners(self) -> set[int]:
        return set[int]().union(*(tally.top.winners() for tally in self.tallies.values()))

    def result(self, generator: Generator, seeds: Sequence[int], seconds: float, group: Group) -> Ranking:
        """Return the ranking, which took `seconds`."""
        plan, compute = self.plan, generator.compute
        thumbnails = self._winners.result(generator, self._seeds_of_winners(), self._most(), group)
        size = next((pixels.shape[:2] for pixels in thumbnails.values()), (1, 1))
        given = input_pictures(generator.latent, list(thumbnails), size)
        return Ranking(
            run=secrets.token_hex(8),
            model=plan.model,
            latent=str(generator.latent),
            labels=str(generator.labels) if generator.labels else None,
            range=generator.range,
            seeds=seeds,
            score=plan.score,
            layers={name: self.tallies[name].result() for name in plan.layers},
            thumbnails=thumbnails,
            inputs={} if given is None else dict(zip(thumbnails, given, strict=True)),
            versions={"ganpatch": VERSION, "torch": torch.__version__, "python": sys.version.split()[0]},
            created=Provenance.now().created,
            seconds=round(seconds, 3),
            computed=Computed(
                device=compute.device_name,
                dtype=compute.dtype,
                channels_last=compute.channels_last,
                compiled=compute.compile,
                processes=group.size,
            ),
        )

    def tensors(self) -> dict[str, Tensor]:
        return {f"{layer}/{name}": t for layer, tally in self.tallies.items() for name, t in tally.tensors().items()}

    def merge(self, tensors: Mapping[str, Tensor]) -> None:
        for layer in self.plan.layers if tensors else ():  # a process without a batch has none
            own = {key.removeprefix(f"{layer}/"): t for key, t in tensors.items() if key.startswith(f"{layer}/")}
            if layer in self.tallies:
                self.tallies[layer].merge(own)
            else:
                self.tallies[layer] = LayerTally.of(own, self.plan)


def check_choices(seeds: Sequence[int], k: int, score: str) -> None:
    """Raise GanpatchError if there are no seeds, or `k` or `score` is invalid."""
    if not len(seeds):
        raise GanpatchError("there are no seeds to rank; give at least one")
    if k < 1:
        raise GanpatchError(f"k is {k}; at least one image per unit is kept")
    if score not in get_args(Score):
        raise GanpatchError(f"score '{score}' is not one of {', '.join(get_args(Score))}")
