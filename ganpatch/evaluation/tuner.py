"""Soften a patch: for each unit, an edit that is as strong as it helps and no stronger.

    tuned = tune(generator, patch, Bound(damage=0.01))
    tuned.patch, tuned.curve                # the trade-off: (damage, gain) of each point

Every unit may be left unchanged, replaced by 0, by its mean, or by its mean over the images without the fault (the half
that activates the units least), or held at its 99 % level (`above`, `value`). The gain of an option is how much more
typical the images become that activate the unit most; its damage is how much those images change that activate the
units of the patch least. At a price of damage, every unit takes the option with the highest gain - price * damage. A
sweep over prices yields the curve. Each stop is then measured with all its edits together, and the stop with the
highest gain within the bound is chosen.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from ganpatch.errors import GanpatchError
from ganpatch.evaluation.measuring import activity_of, least_active, watch_layers
from ganpatch.finding.image_features import Features, feature_maps, load_features
from ganpatch.finding.task import REFERENCE
from ganpatch.finding.typical import Typical
from ganpatch.finding.unit_sets import image_levels
from ganpatch.forward.activations import BATCH, Progress, unseen
from ganpatch.generator.generator import Generator
from ganpatch.graph.remainder import Remainder
from ganpatch.number_ranges import format_spans
from ganpatch.option_values import TUNING_SEEDS
from ganpatch.patch.applying import applied, as_change, edits_applied
from ganpatch.patch.edit import Edit
from ganpatch.patch.evidence import Figure, Record
from ganpatch.patch.patch_file import Patch, Provenance
from ganpatch.ranking.ranker import rank

SEEDS, MADE_BY = TUNING_SEEDS, "ganpatch tune"
TOP, FINE = 12, 24  # images per unit on which gain and damage are measured
STOPS = 12  # prices tried

Kind = Literal["off", "mean", "fine mean", "held"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """The largest damage of a repair: the mean absolute change, in [0, 1], of images that activate its units least."""

    damage: float = 0.01
    seeds: Sequence[int] = SEEDS
    references: int = 500
    features: Features | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One way to edit one unit: `value` replaces it, everywhere or only `above` a level; its gain and damage."""

    layer: str
    unit: int
    kind: Kind = "off"
    value: float = 0.0
    above: float | None = None
    gain: float = 0.0
    damage: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """A choice of options, with their joint gain and damage."""

    options: tuple[Option, ...]
    gain: float
    damage: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """The tuned patch, the gain and damage of the given one, and the stops of the curve by increasing damage."""

    patch: Patch
    given: tuple[float, float]
    chosen: Stop
    curve: tuple[Stop, ...]


def tune(generator: Generator, patch: Patch, bound: Bound | None = None, *, progress: Progress = unseen) -> Tuned:
    """Soften `patch` within `bound`; raise GanpatchError if no edit of its units makes images more typical."""
    bound = bound or Bound()
    patch.evidence.refuse_chosen(bound.seeds)
    for edit in patch.edits:
        if edit.mask is not None or edit.call is not None:
            raise GanpatchError(f"edit '{edit.id}' has a mask or names a call; tune softens edits of whole units")
    with applied(generator.module, patch):
        pass
    judge = _Judge(generator, patch, bound, progress)
    options = [option for layer in judge.units for option in judge.options(layer)]
    prices = torch.logspace(-3, 3, STOPS).tolist()
    choices = {_chosen(options, price): None for price in (0.0, *prices)}
    stops = sorted((judge.stop(chosen) for chosen in choices if chosen), key=lambda stop: stop.damage)
    within = [stop for stop in stops if stop.damage <= bound.damage and stop.gain > 0]
    if not within:
        least = min((stop.damage for stop in stops), default=0.0)
        raise GanpatchError(
            f"no softer edit of these units gains anything within a damage of {bound.damage:g}"
            + (f"; the least that gains costs {least:.2g}: --damage" if stops else ": images become no more typical")
        )
    chosen = max(within, key=lambda stop: stop.gain)
    given = judge.measure(patch.edits)
    return Tuned(patch=_as_patch(patch, chosen, bound), given=given, chosen=chosen, curve=tuple(stops))


def _chosen(options: Sequence[Option], price: float) -> tuple[Option, ...]:
    """Return the best option of each unit at a price of damage; units without a gain get none."""
    best: dict[tuple[str, int], Option] = {}
    for option in options:
        key, worth = (option.layer, option.unit), option.gain - price * option.damage
        if worth > 0 and (key not in best or worth > best[key].gain - price * best[key].damage):
            best[key] = option
    return tuple(best.values())


class _Judge:
    """Measures the gain and damage of edits."""

    def __init__(self, generator: Generator, patch: Patch, bound: Bound, progress: Progress) -> None:
        self.generator, self._patch, self._progress, self._done = generator, patch, progress, 0
        self._features = bound.features or load_features()
        self.units: dict[str, list[int]] = {}
        for edit in patch.edits:
            self.units[edit.layer] = sorted({*self.units.get(edit.layer, []), *edit.units})
        self._ranked = rank(generator, list(self.units), bound.seeds, k=TOP)
        self._total = (len(KINDS) * (TOP + FINE) + 1) * sum(map(len, self.units.values())) + bound.references
        self._typical = Typical(self._maps(range(REFERENCE, REFERENCE + bound.references)))
        tops = [self._ranked[layer].top_seeds[units].flatten() for layer, units in self.units.items()]
        self._most = torch.cat(tops).unique().tolist()
        peaks = watch_layers(generator, set(self.units), bound.seeds).peaks
        least = activity_of(peaks, patch.edits).argsort(stable=True)[:FINE]
        self._fine = [bound.seeds[row] for row in least.tolist()]
        without = least_active(peaks, patch.edits)
        means = image_levels(generator, list(self.units), bound.seeds)
        self._means = {layer: (of_layer.mean(0), of_layer[without].mean(0)) for layer, of_layer in means.items()}

    @torch.no_grad()
    def options(self, layer: str) -> list[Option]:
        """Return the options of every patched unit of a layer, measured one by one."""
        remainder, ranked = Remainder.of(self.generator, layer), self._ranked[layer]
        fine = remainder.prefix(self._fine)
        plain = remainder(fine, lambda y: y)
        found = []
        for unit in self.units[layer]:
            top = remainder.prefix(ranked.top_seeds[unit].tolist())
            before = self._typical.oddity(self._features.maps(remainder(top, lambda y: y)))
            for option in self._choices(layer, unit):
                change = as_change([_edit([option], ranked.units, "option")])
                after = self._typical.oddity(self._features.maps(remainder(top, change)))
                gain, harm = (before - after).mean(), (remainder(fine, change) - plain).abs().mean()
                found.append(replace(option, gain=float(gain), damage=float(harm)))
                self._report(len(top) + len(fine))
        return found

    def _choices(self, layer: str, unit: int) -> list[Option]:
        """Return the options of one unit, not yet measured."""
        mean, fine = (float(each[unit]) for each in self._means[layer])
        level = float(self._ranked[layer].q99[unit])
        values: dict[Kind, float] = {"off": 0.0, "mean": mean, "fine mean": fine, "held": level}
        return [
            Option(layer=layer, unit=unit, kind=kind, value=value, above=level if kind == "held" else None)
            for kind, value in values.items()
        ]

    def stop(self, options: tuple[Option, ...]) -> Stop:
        """Measure a choice of options together."""
        gain, harm = self.measure(_edits(options, self._patch))
        return Stop(options=options, gain=gain, damage=harm)

    @torch.no_grad()
    def measure(self, edits: Sequence[Edit]) -> tuple[float, float]:
        """Return gain and damage of edits together."""
        most, fine = self._most[: 4 * BATCH], self._fine
        before, plain = self._typical.oddity(self._maps(most)), self.generator.sample(fine)
        with edits_applied(self.generator.module, edits):
            after, changed = self._typical.oddity(self._maps(most)), self.generator.sample(fine)
        return float((before - after).mean()), float((changed - plain).abs().mean())

    def _maps(self, seeds: Sequence[int]) -> Tensor:
        return feature_maps(self.generator, self._features, seeds, self._report)

    def _report(self, done: int) -> None:
        self._done = min(self._done + done, self._total)
        self._progress(self._done, self._total)


def _edit(options: Sequence[Option], channels: int, name: str, reason: str = "") -> Edit:
    """Return options of one layer, all with `above` or all without, as one edit."""
    levels = tuple(option.above for option in options if option.above is not None)
    return Edit(
        id=name,
        layer=options[0].layer,
        channels=channels,
        units=tuple(option.unit for option in options),
        value=tuple(option.value for option in options),
        above=levels or None,
        reason=reason,
    )


def _edits(options: Sequence[Option], patch: Patch) -> list[Edit]:
    """Return options as edits: one per layer, reason and kind."""
    about = {(edit.layer, unit): edit for edit in patch.edits for unit in edit.units}
    groups: dict[tuple[str, str, bool], list[Option]] = {}
    for option in sorted(options, key=lambda option: (option.layer, option.unit)):
        reason = about[option.layer, option.unit].reason
        groups.setdefault((option.layer, reason, option.above is not None), []).append(option)
    edits = []
    for number, ((layer, reason, gated), group) in enumerate(groups.items(), 1):
        name = f"{'held' if gated else 'replaced'}-{number}"
        edits.append(_edit(group, about[layer, group[0].unit].channels, name, reason))
    return edits


def _as_patch(patch: Patch, chosen: Stop, bound: Bound) -> Patch:
    dropped = sum(len(edit.units) for edit in patch.edits) - len(chosen.options)
    numbers = {"gain": round(chosen.gain, 5), "damage": round(chosen.damage, 5), "dropped": dropped}
    seen = Record(
        made_by=MADE_BY,
        chosen_on=format_spans(bound.seeds),
        settings={"bound": bound.damage},
        figures={name: Figure(value=number) for name, number in numbers.items()},
    )
    return patch.model_copy(
        update={
            "name": f"{patch.name}-tuned",
            "edits": tuple(_edits(chosen.options, patch)),
            "evidence": patch.evidence.choices().with_record(seen),
            "provenance": Provenance.now(parents=(patch.digest,)),
        }
    )
