"""Patches that remove a concept from a generator's images, or insert it, with their evidence.

made = concept_patch(causes, Wish(concept="tree", units=20), generator, segmenter, seeds)
made.patch.save("no-trees.yaml")
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from ganpatch.causes.concept_shares import ConceptChange, concept_change
from ganpatch.causes.result import Causes
from ganpatch.errors import GanpatchError
from ganpatch.forward.activations import Progress, unseen
from ganpatch.generator.generator import Generator
from ganpatch.number_ranges import format_spans
from ganpatch.option_values import By, Level
from ganpatch.patch.evidence import Evidence, Figure, Record
from ganpatch.patch.patch_file import Model, Patch, Provenance
from ganpatch.segmenters.loading import Segmenter


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is wanted: remove the concept, or insert it at a level; by how many units, where (`mask` [h, w])."""

    concept: str
    insert: bool = False
    units: int = 20
    by: By = "alpha"
    level: Level = "mean"
    mask: Tensor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConceptPatch:
    """The patch, and what it does to all concepts: inside its mask, where it has one."""

    patch: Patch
    change: ConceptChange


def concept_patch(
    causes: Causes,
    wish: Wish,
    generator: Generator,
    segmenter: Segmenter,
    seeds: Sequence[int],
    *,
    progress: Progress = unseen,
) -> ConceptPatch:
    """Make the patch and measure it on the images of `seeds`; raise GanpatchError for causes of another model."""
    model = Model.of(generator.name, generator.fingerprint)
    if causes.model.fingerprint != model.fingerprint:
        raise GanpatchError(f"these causes are of {causes.model.name}, with other weights than {model.name}")
    choices = {"units": wish.units, "by": wish.by, "mask": wish.mask}
    if wish.insert:
        edit = causes.insertion(wish.concept, level=wish.level, **choices)  # type: ignore[arg-type]
    else:
        edit = causes.removal(wish.concept, **choices)  # type: ignore[arg-type]
    within = None
    if wish.mask is not None:
        size = generator.sample(seeds[:1]).shape[-2:]
        within = F.interpolate(wish.mask.view(1, 1, *wish.mask.shape), size, mode="area")[0, 0]
    change = concept_change(generator, segmenter, [edit], seeds, within=within, progress=progress)
    columns = zip(change.concepts, change.before.tolist(), change.after.tolist(), strict=True)
    shares = {name: Figure(before=round(before, 5), after=round(after, 5)) for name, before, after in columns}
    measured = Record(
        made_by=f"ganpatch patch {'insert' if wish.insert else 'remove'}",
        measured_on=format_spans(seeds),
        settings={"segmenter": segmenter.name, "pixels": "all" if within is None else "inside the mask"},
        figures=shares,
        note="share of pixels of each concept",
    )
    patch = Patch(
        name=edit.id,
        description=f"{edit.reason.capitalize()}: {len(edit.units)} units of {edit.layer}.",
        model=model,
        edits=(edit,),
        evidence=Evidence.of(Record(made_by="ganpatch cause", chosen_on=causes.seeds), measured),
        provenance=Provenance.now(),
    )
    return ConceptPatch(patch=patch, change=change)
