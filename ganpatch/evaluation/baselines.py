"""Random-unit baselines: the same edits of other units, as many, with their masks.

    levels = Levels(mean=…, deviation=…)    # of every unit of a layer, [C]
    edits = random_edits(patch.edits, {"layer4": levels}, number=3)

A patch helps only if it does more than such baselines do, each scored on the images that most activate its own units.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ganpatch.patch.edit import Edit

Units = set[tuple[str, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """Mean and standard deviation of the activation of every unit of a layer, [C] each."""

    mean: Tensor
    deviation: Tensor


def random_edits(edits: Sequence[Edit], levels: Mapping[str, Levels], number: int) -> list[Edit]:
    """Return `edits` with their units replaced by random ones, the same for the same `number`.

    The units are others than those of `edits` and of each other, as long as the layer has enough; else they are any
    units of the layer. Alphas and masks are kept. `value` and `above` keep their distance from the unit's mean in its
    standard deviations, unless they are 0 for all units.
    """
    source = torch.Generator().manual_seed(number)
    taken: Units = {(edit.layer, unit) for edit in edits for unit in edit.units}
    made = []
    for edit in edits:
        free = [unit for unit in range(edit.channels) if (edit.layer, unit) not in taken]
        pool = free if len(free) >= len(edit.units) else list(range(edit.channels))
        order = torch.randperm(len(pool), generator=source)[: len(edit.units)].tolist()
        units = tuple(sorted(pool[place] for place in order))
        taken |= {(edit.layer, unit) for unit in units}
        fields = {name: _carried(getattr(edit, name), edit, units, levels[edit.layer]) for name in ("value", "above")}
        made.append(edit.model_copy(update={"units": units, **fields}))
    return made


def _carried(
    numbers: tuple[float, ...] | None, edit: Edit, others: Sequence[int], levels: Levels
) -> tuple[float, ...] | None:
    """Carry per-unit numbers over to other units; a number of 0 for all units stays 0."""
    if numbers is None or not any(numbers):
        return None if numbers is None else (0.0,)
    each = torch.tensor(numbers).expand(len(edit.units))
    own, other = torch.tensor(edit.units), torch.tensor(others)
    score = (each - levels.mean[own]) / levels.deviation[own].clamp(min=1e-6)
    return tuple((score * levels.deviation[other] + levels.mean[other]).tolist())
