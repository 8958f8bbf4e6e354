"""Sets of units that draw a fault together, found from images that show it; and the edit that takes it away.

    levels = image_levels(generator, ["layer2"], range(1000))           # mean activation per image, {layer: [N, C]}
    found = units_of_fault(levels["layer2"], broken=[5, 11, 19], seeds=range(1000), count=12)
    edit = found.edit("stamps", "layer2", reason="orange date stamp")

A fault that a network learned is drawn by many units together, of both signs, most clearly in an early layer. Each unit
is scored by how far its mean activation shifts in images with the fault, in its standard deviations over the others:

    s(u) = |mean_broken(u) - mean_other(u)| / deviation_other(u)

The edit replaces each unit by its mean over the other images: inside what the layer usually does, where 0 may not be.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ganpatch.errors import GanpatchError
from ganpatch.forward.activations import OnActivation, Progress, stream, unseen
from ganpatch.generator.generator import Generator
from ganpatch.patch.edit import Edit

FEWEST = 4  # images with the fault; fewer say nothing about a mean


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultUnits:
    """Units by number, with their `scores`, the `values` that take the fault away, and the layer's `channels`."""

    units: tuple[int, ...]
    scores: tuple[float, ...]
    values: tuple[float, ...]
    channels: int

    def edit(self, name: str, layer: str, reason: str = "") -> Edit:
        """Return the edit that replaces each unit by its value."""
        return Edit(id=name, layer=layer, channels=self.channels, units=self.units, value=self.values, reason=reason)


def image_levels(
    generator: Generator, layers: Sequence[str], seeds: Sequence[int], *, progress: Progress = unseen
) -> dict[str, Tensor]:
    """Return the mean activation of every unit in every image, [N, C] per layer, float64.

    Of a layer that runs several times in a pass, the first run counts.
    """
    kept: dict[str, dict[int, Tensor]] = {layer: {} for layer in layers}
    done = 0

    def keep(layer: str) -> OnActivation:
        def on_activation(activation: Tensor, _seeds: Sequence[int]) -> None:
            if done not in kept[layer]:
                kept[layer][done] = levels_of(activation).cpu()

        return on_activation

    for part, _ in stream(generator, {layer: keep(layer) for layer in layers}, seeds, with_images=False):
        done += len(part)
        progress(done, len(seeds))
    return {layer: torch.cat(list(parts.values())) for layer, parts in kept.items()}


def levels_of(activation: Tensor) -> Tensor:
    """Return the mean of every unit in every image [N, C] of an activation [N, C, ...], float64."""
    return activation.flatten(2).double().mean(2) if activation.ndim > 2 else activation.double()


def units_of_fault(
    levels: Tensor, *, broken: Sequence[int], seeds: Sequence[int], count: int, without: Collection[int] = ()
) -> FaultUnits:
    """Return the `count` units of a layer that shift most in the images of the seeds `broken`, but for those `without`.

    `levels` are mean activations [N, C] of the images of `seeds`. Raises GanpatchError when fewer than four of `broken`
    are among `seeds`, or the layer has fewer units than `count`.
    """
    named = set(broken)
    is_broken = torch.tensor([seed in named for seed in seeds])
    if int(is_broken.sum()) < FEWEST:
        raise GanpatchError(f"{int(is_broken.sum())} broken images among the seeds are too few; name at least {FEWEST}")
    if count > levels.shape[1] - len(without):
        raise GanpatchError(f"{levels.shape[1] - len(without)} units are left in the layer, fewer than {count}")
    other = levels[~is_broken]
    shift = (levels[is_broken].mean(0) - other.mean(0)).abs()
    scores = shift / other.std(0).clamp(min=1e-9)
    scores[list(without)] = -1
    units = scores.topk(count).indices.sort().values
    return FaultUnits(
        units=tuple(units.tolist()),
        scores=tuple(scores[units].tolist()),
        values=tuple(float(f"{value:.6g}") for value in other.mean(0)[units].tolist()),
        channels=levels.shape[1],
    )
