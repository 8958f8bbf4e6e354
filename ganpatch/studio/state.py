"""The state of a studio session: the edits in their order, on or off, the strokes for new concepts, the pinned seeds.

    state.patch()           # the current patch, or None while no edit is on
    state.conflicts()       # units that several edits touch

The patch is the state: a flagged unit is a unit of an edit, and nothing else remembers flags.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field

from ganpatch.patch.edit import NAME, Edit, Part
from ganpatch.patch.evidence import Evidence
from ganpatch.patch.patch_file import Model, Patch, Provenance
from ganpatch.segmenters.strokes_file import Concept, Seed
from ganpatch.studio.strokes import LabelStroke, Mode, Stroke

Revision = Annotated[int, Field(ge=0)]
Units = tuple[int, ...]
MOST_LABEL = 200  # letters


class Point(Part):
    """A place in latent space: a seed, or a share `t` of the way `to` another seed."""

    seed: Seed
    to: Seed | None = None
    t: Annotated[float, Field(ge=0, le=1)] = 0.0


class Painted(Part):
    """How a painted edit came about, so that the page can show its strokes again; `size` is (h, w) of the image."""

    label: Annotated[str, Field(max_length=MOST_LABEL)]
    mode: Mode
    seed: Seed
    size: Annotated[tuple[int, int], Field(strict=False)]
    strokes: Annotated[tuple[Stroke, ...], Field(strict=False)]


class Entry(Part):
    """One edit, on or off; `rev` is the revision of the session at which it last changed."""

    edit: Edit
    on: bool = True
    rev: Revision
    painted: Painted | None = None

    @property
    def id(self) -> str:
        return self.edit.id

    @property
    def is_plain(self) -> bool:
        """Whether it is an edit of whole units, everywhere, in every run: what a flag makes."""
        return self.edit.mask is None and self.edit.call is None

    def at(self, rev: int, **fields: Any) -> Self:
        """Return this entry changed at a revision."""
        return self.model_copy(update={"rev": rev, **fields})


class Conflict(Part):
    """Units of a layer that several edits touch; they work one after the other, in the order of the patch."""

    layer: str
    units: Units
    edits: tuple[str, ...]


class Content(Part):
    """What undo brings back."""

    name: Annotated[str, Field(pattern=NAME, max_length=100)] = "studio"
    description: Annotated[str, Field(max_length=10_000)] = ""
    edits: tuple[Entry, ...] = ()
    labels: tuple[LabelStroke, ...] = ()


class State(Part):
    """A session; `revision` grows with every change and with undo, `seen` are the last changes, by id.

    `version` is the revision at which the content came to be; `undo` and `redo` are versions, the last one next.
    `evidence` records on which seeds the patch that the session began with was chosen.
    """

    format: Literal["ganpatch-studio/1"] = "ganpatch-studio/1"
    studio: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    model: Model
    evidence: Evidence = Evidence()
    revision: Revision = 0
    version: Revision = 0
    content: Content = Content()
    concepts: tuple[Concept, ...] = ()
    pins: tuple[Point, ...] = ()
    seen: tuple[str, ...] = ()
    undo: tuple[Revision, ...] = ()
    redo: tuple[Revision, ...] = ()

    def entry(self, name: str) -> Entry | None:
        """Return the entry whose edit is called `name`."""
        return next((entry for entry in self.content.edits if entry.id == name), None)

    def active(self) -> tuple[Edit, ...]:
        """Return the edits that are on, in their order."""
        return tuple(entry.edit for entry in self.content.edits if entry.on)

    def patch(self, evidence: Evidence | None = None) -> Patch | None:
        """Return the current patch, or None while no edit is on: a patch has at least one."""
        edits = self.active()
        if not edits:
            return None
        return Patch(
            name=self.content.name,
            description=self.content.description,
            model=self.model,
            edits=edits,
            evidence=self.evidence.with_records(evidence.records if evidence else ()),
            provenance=Provenance.now(),
        )

    def conflicts(self) -> tuple[Conflict, ...]:
        """Return the units that several edits touch at one place, by the edits that touch them."""
        touching: dict[tuple[str, int], list[Edit]] = {}
        for edit in self.active():
            for unit in edit.units:
                touching.setdefault((edit.layer, unit), []).append(edit)
        groups: dict[tuple[str, tuple[str, ...]], list[int]] = {}
        for (layer, unit), edits in touching.items():
            names = tuple(one.id for one in edits if any(one is not other and _meet(one, other) for other in edits))
            if names:
                groups.setdefault((layer, names), []).append(unit)
        return tuple(
            Conflict(layer=layer, units=tuple(sorted(units)), edits=names) for (layer, names), units in groups.items()
        )


def _meet(one: Edit, other: Edit) -> bool:
    """Return whether two edits of a layer work at one place."""
    if one.mask is None or other.mask is None:
        return True
    places = [mask.values.reshape(-1, *mask.size).amax(0) > 0 for mask in (one.mask, other.mask)]
    return bool((places[0] & places[1]).any())
