"""Sets of units that draw a fault together, with the edit that takes it away: what it gains, and what it harms.

    sets = suggest_sets(task)                               # blind: from groups of images that share something
    sets = suggest_sets(task_with_broken_images)            # from images that a person called broken
    sets[0].edit(), sets[0].gain, sets[0].harm

Suspects come from `shared_places.py`, or are the images called broken. For each suspect, the units of several layers
that shift most with it are replaced by their mean over the other images (`unit_sets.py`), a few of them and then more,
and the layers after them run again:

    gain  = 1 - |strength after / strength before| of what the suspect's images share, in its images
    harm  = mean absolute change of other images / mean absolute difference between two of them
    worth = gain - PRICE * harm

The layer and the number of units with the highest worth become the set, without the units that it is worth more
without and that take away next to nothing. No truth and no real image is needed; whether
what the images share is a fault, a person decides.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ganpatch.errors import GanpatchError
from ganpatch.finding.image_features import feature_maps
from ganpatch.finding.shared_places import ImageGroup, Places, groups_of_rows
from ganpatch.finding.suggestions import UnitSet
from ganpatch.finding.task import Count, Task
from ganpatch.finding.unit_sets import FEWEST, levels_of, units_of_fault
from ganpatch.forward.activations import batched
from ganpatch.forward.layer_facts import LayerFacts, list_layers
from ganpatch.generator.layers import find_layer, hooked, tensor_of
from ganpatch.graph.prefix import Change, Prefix
from ganpatch.graph.remainder import Remainder
from ganpatch.patch.edit import Edit
from ganpatch.patch.equation import edited, terms

PRICE = 5.0  # a harm of one hundredth costs five hundredths of gain
COUNTS = (2, 3, 4, 6, 9, 14, 20)  # units of a set that are tried
HOPELESS = 0.3  # gain below which a set is not suggested, and a layer not tried further
SPARE = 0.05  # gain that may be lost by leaving units out of a set
MOST = 16  # suspects that are tried
_COUNT = 24  # images of a suspect, of 1000
_SHOWN = 8  # images of a suspect, and other images, in which an edit is tried
_MOST_IMAGES = 2000  # of a ranking that are looked at
_WIDEST = 16  # positions along an edge of the layers that are searched
_NARROWEST = 4
_LEAST = 1e-6  # of a strength or a difference: nothing smaller is divided by


def searched_layers(facts: Sequence[LayerFacts]) -> list[str]:
    """Return the layers in which sets are searched by default: the last whole block of each size from 4x4 to 16x16."""
    maps = [
        fact
        for fact in facts
        if len(fact.size) == 2 and _NARROWEST <= min(fact.size) <= max(fact.size) <= _WIDEST
        if fact.units >= 2 * COUNTS[0] and fact.calls == 1
    ]
    if not maps:
        raise GanpatchError("no layer has maps of 4x4 to 16x16; choose one with --layer")
    depth = min(fact.name.count(".") for fact in maps)
    by_size = {fact.size: fact.name for fact in maps if fact.name.count(".") == depth}
    return list(by_size.values())


def suggest_sets(task: Task, layers: Sequence[str] = ()) -> tuple[UnitSet, ...]:
    """Return sets of units of `layers`, the most worthwhile first; they need not be ranked.

    With images called broken in the task, there is one set, from them. In a group of processes all do the same edits.
    """
    for layer in layers:
        find_layer(task.generator.module, layer)
    chosen = list(layers) or searched_layers(list_layers(task.generator))
    seeds = list(dict.fromkeys([*task.broken, *task.ranking.seeds[:_MOST_IMAGES]]))
    report = Count(task, len(seeds))
    places, levels = _observed(task, chosen, seeds, report)
    suspects = _suspects(task, places, levels, seeds)
    search = _Search(task=task, places=places, levels=levels, seeds=seeds)
    found = []
    for number, suspect in enumerate(suspects, 1):
        found.append(search.best(suspect))
        task.progress(len(seeds) * (1 + number), len(seeds) * (1 + len(suspects)))
    worthwhile = sorted((one for one in found if one is not None), key=_worth, reverse=True)
    return tuple(one.model_copy(update={"name": f"set-{n}"}) for n, one in enumerate(worthwhile, 1))


def _suspects(task: Task, places: Places, levels: Mapping[str, Tensor], seeds: Sequence[int]) -> list[ImageGroup]:
    if task.broken:
        if len(set(task.broken)) < FEWEST:
            raise GanpatchError(f"{len(set(task.broken))} broken images are too few; name at least {FEWEST}")
        named = torch.tensor([seeds.index(seed) for seed in dict.fromkeys(task.broken)])
        return [places.group(named, "images called broken")]
    count = min(_COUNT, len(seeds) // 10)
    if count < FEWEST:
        raise GanpatchError(f"{len(seeds)} ranked images are too few to find sets; rank at least {10 * FEWEST}")
    return groups_of_rows(places, levels, count=count, most=MOST)


def _observed(
    task: Task, layers: Sequence[str], seeds: Sequence[int], report: Count
) -> tuple[Places, dict[str, Tensor]]:
    """Return the features of the images of `seeds`, and each unit's mean activation in them, {layer: [N, C]}."""
    name = f"sets/{' '.join(layers)}"
    known = task.kept.several(name, lambda: _levels_and_maps(task, layers, seeds, report))
    return Places(known["maps"].cpu()), {layer: known[f"levels/{layer}"].cpu() for layer in layers}


def _levels_and_maps(task: Task, layers: Sequence[str], seeds: Sequence[int], report: Count) -> dict[str, Tensor]:
    """Run the images of `seeds`; return their feature maps, and the mean activations of each layer."""
    kept: dict[str, list[Tensor]] = {layer: [] for layer in layers}

    def keeper(layer: str) -> Callable[[object, int], None]:
        def on_output(output: object, call: int) -> None:
            tensor = tensor_of(output)
            if tensor is None or tensor.ndim < 2:
                raise GanpatchError(f"layer '{layer}' has no units")
            if not call:
                kept[layer].append(levels_of(tensor))

        return on_output

    with hooked(task.generator.module, {layer: keeper(layer) for layer in layers}):
        found = {"maps": feature_maps(task.generator, task.features, seeds, report, task.group)}
    for layer, own in kept.items():
        found[f"levels/{layer}"] = _in_order(task, own, seeds)
    return found


def _in_order(task: Task, own: Sequence[Tensor], seeds: Sequence[int]) -> Tensor:
    """Return the rows of all batches [N, C], of which this process has its `own`."""
    parts = iter(own)
    return task.group.mapped(lambda _part: next(parts), list(batched(seeds)))


@dataclass(frozen=True, kw_only=True)
class _Search:
    """The search for the edit of a suspect."""

    task: Task
    places: Places
    levels: Mapping[str, Tensor]
    seeds: Sequence[int]

    @cached_property
    def remainders(self) -> dict[str, Remainder]:
        """Return the remainder of a forward pass after each layer."""
        return {layer: Remainder.of(self.task.generator, layer) for layer in self.levels}

    @torch.no_grad()
    def best(self, suspect: ImageGroup) -> UnitSet | None:
        """Return the most worthwhile set for a suspect, or None if no edit takes away what its images share."""
        scenes = {layer: self._scene(suspect, layer) for layer in self.levels}
        tried = [one for layer, scene in scenes.items() for one in self._tried(suspect, layer, scene)]
        best = max(tried, key=_worth, default=None)
        return None if best is None else self._pruned(suspect, best, scenes[best.layer])

    def _tried(self, suspect: ImageGroup, layer: str, scene: "_Scene") -> Iterator[UnitSet]:
        """Yield the sets of `layer` by number of units: none if the largest gains too little."""
        units = self.levels[layer].shape[1]
        for count in sorted((count for count in COUNTS if count <= units // 2), reverse=True):
            broken = [self.seeds[row] for row in suspect.images.tolist()]
            found = units_of_fault(self.levels[layer], broken=broken, seeds=self.seeds, count=count)
            one = UnitSet(
                name="set",
                layer=layer,
                channels=units,
                units=found.units,
                values=found.values,
                images=tuple(broken),
                start=suspect.start,
                locality=round(suspect.locality, 2),
            )
            measured = self._measured(suspect, one, scene)
            if measured.gain < HOPELESS:
                return
            yield measured

    def _pruned(self, suspect: ImageGroup, best: UnitSet, scene: "_Scene") -> UnitSet:
        """Return the set without the units that it is worth more without, tried one after the other."""
        least = best.gain - SPARE
        for unit, value in zip(best.units, best.values, strict=True):
            if len(best.units) == 1:
                break
            pairs = [pair for pair in zip(best.units, best.values, strict=True) if pair != (unit, value)]
            units, values = zip(*pairs, strict=True)
            fewer = self._measured(suspect, best.model_copy(update={"units": units, "values": values}), scene)
            best = fewer if fewer.gain >= least and _worth(fewer) > _worth(best) else best
        return best

    def _scene(self, suspect: ImageGroup, layer: str) -> "_Scene":
        """Return the images in which edits of `layer` are tried: those of the suspect that show it most, and others."""
        strength = self.places.own_strength(suspect)
        inside = suspect.images[strength[suspect.images].topk(min(_SHOWN, len(suspect.images))).indices]
        apart = strength < 0.5
        apart[suspect.images] = False
        others = apart.nonzero().flatten()
        outside = others[torch.linspace(0, len(others) - 1, min(_SHOWN, len(others))).long()]
        prefix = self.remainders[layer].prefix([self.seeds[row] for row in torch.cat([inside, outside]).tolist()])
        return _Scene(prefix=prefix, images=self.remainders[layer](prefix, lambda y: y), inside=len(inside))

    def _measured(self, suspect: ImageGroup, one: UnitSet, scene: "_Scene") -> UnitSet:
        """Return a set with its gain and harm in the images of a scene."""
        after = self.remainders[one.layer](scene.prefix, _change(one.edit()))
        shown, left = (self._strength(suspect, images[: scene.inside]) for images in (scene.images, after))
        change = float((after - scene.images)[scene.inside :].abs().mean())
        gain, harm = 1 - abs(left / max(shown, _LEAST)), change / max(scene.difference, _LEAST)
        return one.model_copy(update={"gain": round(gain, 4), "harm": round(harm, 4)})

    def _strength(self, suspect: ImageGroup, images: Tensor) -> float:
        return float(self.places.strength(suspect, self.task.features.maps(images).cpu()).mean())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """Images [N, 3, H, W], the first `inside` of them of a suspect, and their pass up to a layer."""

    prefix: Prefix
    images: Tensor
    inside: int

    @property
    def difference(self) -> float:
        """Return the mean absolute difference between two of the other images."""
        others = self.images[self.inside :]
        return float((others - others.roll(1, 0)).abs().mean())


def _change(edit: Edit) -> Change:
    return lambda y: edited(y, terms(edit, dims=y.ndim - 2).to(y))


def _worth(one: UnitSet) -> float:
    return one.gain - PRICE * one.harm
