"""Patches that remove a concept from a generator's images, or insert it, with their evidence.

Each is measured before it is returned:

    made = remove_concept(causes, ConceptChoice(concept="tree", units=20), ConceptImages(generator=generator))
    made.patch.save("no-trees.yaml")
    made.change.removed("tree")             # by how much of it, on other images than those of the causes
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch.nn.functional as F
from torch import Tensor

from ganpatch.causes.concept_shares import ConceptChange, concept_change
from ganpatch.causes.result import Causes
from ganpatch.errors import GanpatchError
from ganpatch.forward.activations import Progress, unseen
from ganpatch.generator.generator import Generator
from ganpatch.number_ranges import format_spans
from ganpatch.option_values import CONCEPT_PATCH_SEEDS, By, Level
from ganpatch.pages.image_grids import read_mask
from ganpatch.patch.edit import Edit
from ganpatch.patch.evidence import Evidence, Figure, Record
from ganpatch.patch.patch_file import Model, Patch, Provenance
from ganpatch.segmenters.loading import Segmenter, load_segmenter


@dataclass(frozen=True, slots=True, kw_only=True)
class ConceptChoice:
    """Which concept, by how many `units`, in which order, and where (`mask` [h, w] in [0, 1]; None is everywhere).

    `level` is the value that an insertion sets: the mean where the concept is, or a quantile.
    """

    concept: str
    units: int = 20
    by: By = "alpha"
    level: Level = "mean"
    mask: Tensor | None = None

    @classmethod
    def of(cls, causes: Causes, concept: str | None, mask: Path | None, **given: Any) -> Self:
        """Return the choice with its mask read from a picture; without `concept`, the only one of `causes`."""
        grid = None if mask is None else read_mask(mask, causes.size)
        return cls(concept=concept or causes.only_concept(), mask=grid, **given)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConceptImages:
    """The images that a patch is measured on, and the segmenter to measure with; None is that of the causes."""

    generator: Generator
    segmenter: Segmenter | None = None
    seeds: Sequence[int] = CONCEPT_PATCH_SEEDS
    progress: Progress = unseen


@dataclass(frozen=True, slots=True, kw_only=True)
class ConceptPatch:
    """The patch, its `effect` in words, and the change of all concepts, inside its mask if it has one."""

    patch: Patch
    effect: str
    change: ConceptChange


def remove_concept(causes: Causes, choice: ConceptChoice, images: ConceptImages) -> ConceptPatch:
    """Return the patch that removes a concept, and what it changes in `images`.

    Raises GanpatchError when `causes` are of another model, or not of that concept.
    """
    edit = causes.removal(choice.concept, units=choice.units, by=choice.by, mask=choice.mask)
    change, record = _measured(causes, edit, images, choice.mask, "remove")
    effect = (
        f"removes {change.removed(choice.concept):.1%} of {choice.concept}, by {choice.units} units of {edit.layer}"
    )
    return ConceptPatch(patch=_patch(causes, edit, images.generator, record), effect=effect, change=change)


def insert_concept(causes: Causes, choice: ConceptChoice, images: ConceptImages) -> ConceptPatch:
    """Return the patch that inserts a concept where `choice.mask` is, and what it changes in `images`.

    Raises GanpatchError when `causes` are of another model, or not of that concept.
    """
    edit = causes.insertion(choice.concept, level=choice.level, units=choice.units, by=choice.by, mask=choice.mask)
    change, record = _measured(causes, edit, images, choice.mask, "insert")
    effect = f"inserts {choice.concept}, by {choice.units} units of {edit.layer}"
    return ConceptPatch(patch=_patch(causes, edit, images.generator, record), effect=effect, change=change)


def segmenter_of(
    causes: Causes, generator: Generator, spec: str | None = None, *, concepts: Sequence[str] = ()
) -> Segmenter:
    """Return the segmenter that causes were found with, or `spec`, for measuring an edit of their layer.

    A probe of the generator's own features reads only layers after that one, as it did when the causes were found: it
    must not see the very activations that the edit replaces.
    """
    return load_segmenter(spec or causes.segmenter, generator, concepts=concepts, after=causes.layer)


def _measured(
    causes: Causes, edit: Edit, images: ConceptImages, mask: Tensor | None, verb: str
) -> tuple[ConceptChange, Record]:
    """Measure the concepts before and after an edit; raise GanpatchError when the causes are of another model."""
    generator, within = images.generator, None
    if causes.model.fingerprint != Model.of(generator.name, generator.fingerprint).fingerprint:
        raise GanpatchError(f"these causes are of {causes.model.name}, with other weights than {generator.name}")
    if mask is not None:
        size = generator.sample(images.seeds[:1]).shape[-2:]
        within = F.interpolate(mask.view(1, 1, *mask.shape), size, mode="area")[0, 0]
    segmenter = images.segmenter or segmenter_of(causes, generator)
    change = concept_change(generator, segmenter, [edit], images.seeds, within=within, progress=images.progress)
    columns = zip(change.concepts, change.before.tolist(), change.after.tolist(), strict=True)
    record = Record(
        made_by=f"ganpatch patch {verb}",
        measured_on=format_spans(images.seeds),
        settings={"segmenter": segmenter.name, "pixels": change.pixels},
        figures={name: Figure(before=round(before, 5), after=round(after, 5)) for name, before, after in columns},
        note="share of pixels of each concept",
    )
    return change, record


def _patch(causes: Causes, edit: Edit, generator: Generator, measured: Record) -> Patch:
    """Return the patch with the seeds that it was chosen and measured on, and its figures."""
    return Patch(
        name=edit.id,
        description=f"{edit.reason.capitalize()}: {len(edit.units)} units of {edit.layer}.",
        model=Model.of(generator.name, generator.fingerprint),
        edits=(edit,),
        evidence=Evidence.of(Record(made_by="ganpatch cause", chosen_on=causes.seeds), measured),
        provenance=Provenance.now(),
    )
