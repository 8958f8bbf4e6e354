"""Patches that remove a concept from a generator's images, or insert it, with their evidence.

Each is measured before it is returned:

    made = remove_concept(causes, ConceptChoice(concept="tree", units=20), generator, segmenter)
    made.patch.save("no-trees.yaml")
    made.change.removed("tree")             # by how much of it, on other images than those of the causes
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
from ganpatch.option_values import CONCEPT_PATCH_SEEDS, By, Level
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ConceptPatch:
    """The patch, and its effect on all concepts, inside its mask if it has one."""

    patch: Patch
    change: ConceptChange


def remove_concept(
    causes: Causes,
    choice: ConceptChoice,
    generator: Generator,
    segmenter: Segmenter | None = None,
    seeds: Sequence[int] = CONCEPT_PATCH_SEEDS,
    *,
    progress: Progress = unseen,
) -> ConceptPatch:
    """Return the patch that removes a concept, and what it changes in the images of `seeds`.

    Without a `segmenter`, that of the causes. Raises GanpatchError when `causes` are of another model, or not of that
    concept.
    """
    segmenter = segmenter or segmenter_of(causes, generator)
    edit = causes.removal(choice.concept, units=choice.units, by=choice.by, mask=choice.mask)
    return _measured(causes, edit, choice.mask, _Images(generator, segmenter, seeds, progress), "ganpatch patch remove")


def insert_concept(
    causes: Causes,
    choice: ConceptChoice,
    generator: Generator,
    segmenter: Segmenter | None = None,
    seeds: Sequence[int] = CONCEPT_PATCH_SEEDS,
    *,
    progress: Progress = unseen,
) -> ConceptPatch:
    """Return the patch that inserts a concept where `choice.mask` is, and what it changes in the images of `seeds`.

    Without a `segmenter`, that of the causes. Raises GanpatchError when `causes` are of another model, or not of that
    concept.
    """
    segmenter = segmenter or segmenter_of(causes, generator)
    edit = causes.insertion(choice.concept, level=choice.level, units=choice.units, by=choice.by, mask=choice.mask)
    return _measured(causes, edit, choice.mask, _Images(generator, segmenter, seeds, progress), "ganpatch patch insert")


def segmenter_of(
    causes: Causes, generator: Generator, spec: str | None = None, *, concepts: Sequence[str] = ()
) -> Segmenter:
    """Return the segmenter that causes were found with, or `spec`, for measuring an edit of their layer.

    A probe of the generator's own features reads only layers after that one, as it did when the causes were found: it
    must not see the very activations that the edit replaces.
    """
    return load_segmenter(spec or causes.segmenter, generator, concepts=concepts, after=causes.layer)


@dataclass(frozen=True, slots=True)
class _Images:
    """What a patch is measured on."""

    generator: Generator
    segmenter: Segmenter
    seeds: Sequence[int]
    progress: Progress


def _measured(causes: Causes, edit: Edit, mask: Tensor | None, images: _Images, made_by: str) -> ConceptPatch:
    generator, segmenter, seeds = images.generator, images.segmenter, images.seeds
    model = Model.of(generator.name, generator.fingerprint)
    if causes.model.fingerprint != model.fingerprint:
        raise GanpatchError(f"these causes are of {causes.model.name}, with other weights than {model.name}")
    within = None
    if mask is not None:
        size = generator.sample(seeds[:1]).shape[-2:]
        within = F.interpolate(mask.view(1, 1, *mask.shape), size, mode="area")[0, 0]
    change = concept_change(generator, segmenter, [edit], seeds, within=within, progress=images.progress)
    columns = zip(change.concepts, change.before.tolist(), change.after.tolist(), strict=True)
    shares = {name: Figure(before=round(before, 5), after=round(after, 5)) for name, before, after in columns}
    measured = Record(
        made_by=made_by,
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
