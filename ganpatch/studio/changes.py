"""The changes that tabs send, each a small JSON object with an id of its own, and what each makes of the content.

    changed(content, Flag(id="a1", layer="layer4", unit=12, reason="smear"), revision=7, channels={"layer4": 256})

Pure functions. A change of one edit names the revision at which the tab saw that edit: when another tab has changed
it since, Overtaken is raised and the tab shows what there is. Flags of different tabs never get in each other's way.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from ganpatch.errors import GanpatchError, near_miss
from ganpatch.patch.edit import NAME, Edit, Part, id_of
from ganpatch.segmenters.strokes_file import Concept
from ganpatch.studio.state import Content, Entry, Point, Revision, State
from ganpatch.studio.strokes import LabelStroke

ChangeId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,40}$")]
EditName = Annotated[str, Field(pattern=NAME, max_length=100)]
Reason = Annotated[str, Field(max_length=2000)]
LayerName = Annotated[str, Field(min_length=1, max_length=500)]
UnitNumber = Annotated[int, Field(ge=0, lt=1_000_000)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


class Overtaken(Exception):
    """What a change is about has been changed since the tab saw it."""


class _Change(Part):
    id: ChangeId


class Flag(_Change):
    """Put a unit into the patch, or change its reason."""

    kind: Literal["flag"] = "flag"
    layer: LayerName
    unit: UnitNumber
    reason: Reason = ""


class Unflag(_Change):
    """Remove a unit from every edit without a mask."""

    kind: Literal["unflag"] = "unflag"
    layer: LayerName
    unit: UnitNumber


class Tune(_Change):
    """Set the numbers of an edit, or of one of its units; `above` null takes the gate away."""

    kind: Literal["tune"] = "tune"
    edit: EditName
    rev: Revision
    unit: UnitNumber | None = None
    alpha: Share | None = None
    value: Number | None = None
    above: Number | None = None
    gated: bool | None = None


class Describe(_Change):
    """Switch an edit on or off, or change its reason."""

    kind: Literal["describe"] = "describe"
    edit: EditName
    rev: Revision
    on: bool | None = None
    reason: Reason | None = None


class Remove(_Change):
    """Remove an edit."""

    kind: Literal["remove"] = "remove"
    edit: EditName
    rev: Revision


class Move(_Change):
    """Put an edit at another place in the order."""

    kind: Literal["move"] = "move"
    edit: EditName
    rev: Revision
    place: Annotated[int, Field(ge=0, le=100_000)]


class Rename(_Change):
    """Name and describe the patch."""

    kind: Literal["rename"] = "rename"
    name: EditName
    description: Annotated[str, Field(max_length=10_000)] = ""


class Label(_Change):
    """Add a stroke for a concept."""

    kind: Literal["label"] = "label"
    label: LabelStroke


class Unlabel(_Change):
    """Remove a stroke for a concept."""

    kind: Literal["unlabel"] = "unlabel"
    label: ChangeId


class Pin(_Change):
    """Pin a point to the tray, or take it off; not a part of undo."""

    kind: Literal["pin"] = "pin"
    point: Point
    on: bool = True


class AddConcept(_Change):
    """Name a concept to be painted; not a part of undo."""

    kind: Literal["concept"] = "concept"
    concept: Concept


class Undo(_Change):
    """Undo the last change, if `revision` is still the last one."""

    kind: Literal["undo"] = "undo"
    revision: Revision


class Redo(_Change):
    """Bring back what was undone, if `revision` is still the last one."""

    kind: Literal["redo"] = "redo"
    revision: Revision


class Restore(_Change):
    """Bring an earlier version back, as a new one; undo takes that back."""

    kind: Literal["restore"] = "restore"
    version: Revision
    revision: Revision


OnEdit = Tune | Describe | Remove | Move
OnContent = Flag | Unflag | OnEdit | Rename | Label | Unlabel
AnyChange = OnContent | Pin | AddConcept | Undo | Redo | Restore
Change = Annotated[AnyChange, Field(discriminator="kind")]


def changed(content: Content, change: OnContent, revision: int, channels: Mapping[str, int]) -> Content:
    """Make a change; `revision` is the one that it makes, `channels` the units of every layer."""
    if isinstance(change, Flag | Unflag):
        check_unit(change.layer, change.unit, channels)
        edits = _without_unit(content.edits, change.layer, change.unit, revision)
        if isinstance(change, Flag):
            edits = _flagged(content.edits, change, revision, channels[change.layer])
        return content.model_copy(update={"edits": edits})
    if isinstance(change, Rename):
        return content.model_copy(update={"name": change.name, "description": change.description})
    if isinstance(change, Label):
        others = tuple(one for one in content.labels if one.id != change.label.id)
        return content.model_copy(update={"labels": (*others, change.label)})
    if isinstance(change, Unlabel):
        return content.model_copy(update={"labels": tuple(one for one in content.labels if one.id != change.label)})
    return content.model_copy(update={"edits": _on_edit(content, change, revision)})


def changed_aside(state: State, change: Pin | AddConcept) -> State:
    """Make a change that undo does not take back."""
    if isinstance(change, AddConcept):
        return state.model_copy(update={"concepts": tuple(dict.fromkeys((*state.concepts, change.concept)))})
    others = tuple(point for point in state.pins if point != change.point)
    return state.model_copy(update={"pins": (*others, change.point)[-200:] if change.on else others})


def placed(content: Content, entry: Entry) -> Content:
    """Put an entry at the end, or into the place of the painted one that has its name; raise Overtaken for another."""
    place = next((index for index, other in enumerate(content.edits) if other.id == entry.id), None)
    if place is None:
        return content.model_copy(update={"edits": (*content.edits, entry)})
    if content.edits[place].painted is None:
        raise Overtaken(f"edit '{entry.id}' is not a painted one")
    return content.model_copy(update={"edits": (*content.edits[:place], entry, *content.edits[place + 1 :])})


def free_name(wish: str, taken: set[str]) -> str:
    """Return `wish`, or `wish-2`, `wish-3`, …, whichever is not taken."""
    number, name = 1, wish
    while name in taken:
        number += 1
        name = f"{wish}-{number}"
    return name


def numbered(text: str, taken: set[str]) -> str:
    """Return the first of `text-1`, `text-2`, … that is not taken, without the characters that a name may not have."""
    return next(name for number in range(1, len(taken) + 2) if (name := f"{id_of(text)}-{number}") not in taken)


def with_fields(edit: Edit, **fields: Any) -> Edit:
    """Return an edit with other fields, checked; raise GanpatchError when they do not fit."""
    try:
        return Edit.model_validate({name: getattr(edit, name) for name in Edit.model_fields} | fields)
    except ValidationError as fault:
        raise GanpatchError("; ".join(found["msg"] for found in fault.errors())) from fault


def check_unit(layer: str, unit: int, channels: Mapping[str, int]) -> None:
    """Raise GanpatchError when there is no such unit; `channels` are the units of every layer."""
    units = channels.get(layer, 0)
    if not units:
        raise GanpatchError(f"layer '{layer}' has no units{near_miss(layer, channels)}")
    if unit >= units:
        raise GanpatchError(f"unit {unit} is outside layer '{layer}' ({units} units, 0-{units - 1})")


def _on_edit(content: Content, change: OnEdit, revision: int) -> tuple[Entry, ...]:
    place = next((index for index, entry in enumerate(content.edits) if entry.id == change.edit), None)
    if place is None or content.edits[place].rev != change.rev:
        raise Overtaken(f"edit '{change.edit}' was {'removed' if place is None else 'changed'} in another tab")
    entry = content.edits[place]
    before, after = content.edits[:place], content.edits[place + 1 :]
    if isinstance(change, Remove):
        return (*before, *after)
    if isinstance(change, Move):
        others = (*before, *after)
        return (*others[: change.place], entry.at(revision), *others[change.place :])
    if isinstance(change, Describe):
        on = entry.on if change.on is None else change.on
        reason = entry.edit.reason if change.reason is None else change.reason
        return (*before, entry.at(revision, on=on, edit=with_fields(entry.edit, reason=reason)), *after)
    return (*before, *_tuned(content, entry, change, revision), *after)


def _tuned(content: Content, entry: Entry, change: Tune, revision: int) -> tuple[Entry, ...]:
    """Set numbers; a unit that alone gets or loses its gate moves into an edit of its own."""
    wish = {name: getattr(change, name) for name in ("alpha", "value") if getattr(change, name) is not None}
    if change.above is not None or change.gated is False:
        wish["above"] = change.above
    edit = entry.edit
    if change.unit is None:
        return (entry.at(revision, edit=with_fields(edit, **wish)),)
    if change.unit not in edit.units:
        raise Overtaken(f"unit {change.unit} is no longer in edit '{edit.id}'")
    if len(edit.units) == 1:
        return (entry.at(revision, edit=with_fields(edit, **wish)),)
    if "above" in wish and (wish["above"] is None) != (edit.above is None):
        rest, alone = _split(edit, change.unit)
        name = free_name(f"{edit.id}-u{change.unit}", {other.id for other in content.edits})
        own = entry.at(revision, edit=with_fields(alone, id=name, **wish))
        return entry.at(revision, edit=rest), own
    place = edit.units.index(change.unit)
    lists = {name: list(_per_unit(edit, name)) for name in wish if wish[name] is not None}
    for name, numbers in lists.items():
        numbers[place] = wish[name]
    return (entry.at(revision, edit=with_fields(edit, **{name: _short(row) for name, row in lists.items()})),)


def _without_unit(edits: tuple[Entry, ...], layer: str, unit: int, revision: int) -> tuple[Entry, ...]:
    kept = []
    for entry in edits:
        if entry.is_plain and entry.edit.layer == layer and unit in entry.edit.units:
            if len(entry.edit.units) == 1:
                continue
            entry = entry.at(revision, edit=_split(entry.edit, unit)[0])
        kept.append(entry)
    return tuple(kept)


def _flagged(edits: tuple[Entry, ...], change: Flag, revision: int, channels: int) -> tuple[Entry, ...]:
    """Add a unit to the edit of its layer and reason; one that is there keeps its numbers under the new reason."""
    found = [entry for entry in edits if _holds(entry, change)]
    if any(entry.edit.reason == change.reason for entry in found):
        return edits
    if found and len(found[0].edit.units) == 1:
        same = with_fields(found[0].edit, reason=change.reason)
        return tuple(entry.at(revision, edit=same) if entry is found[0] else entry for entry in edits)
    edits = _without_unit(edits, change.layer, change.unit, revision)
    alone = _split(found[0].edit, change.unit)[1] if found else None
    for index, entry in enumerate(edits):
        if alone is None and _takes(entry, change):
            return (*edits[:index], entry.at(revision, edit=_with_unit(entry.edit, change.unit)), *edits[index + 1 :])
    name = numbered(change.layer, {entry.id for entry in edits})
    if alone is None:
        alone = Edit(id=name, layer=change.layer, channels=channels, units=(change.unit,))
    edit = with_fields(alone, id=name, reason=change.reason)
    return (*edits, Entry(edit=edit, rev=revision))


def _holds(entry: Entry, change: Flag) -> bool:
    return entry.is_plain and entry.edit.layer == change.layer and change.unit in entry.edit.units


def _takes(entry: Entry, change: Flag) -> bool:
    """Whether a newly flagged unit belongs into this edit."""
    edit = entry.edit
    return entry.is_plain and edit.above is None and edit.layer == change.layer and edit.reason == change.reason


def _with_unit(edit: Edit, unit: int) -> Edit:
    """Add a unit; where the units have numbers of their own, it is entirely replaced by 0."""
    place = sum(other < unit for other in edit.units)
    fields: dict[str, Any] = {"units": (*edit.units[:place], unit, *edit.units[place:])}
    for name, usual in (("alpha", 1.0), ("value", 0.0)):
        numbers = getattr(edit, name)
        if len(numbers) > 1:
            fields[name] = (*numbers[:place], usual, *numbers[place:])
    return with_fields(edit, **fields)


def _split(edit: Edit, unit: int) -> tuple[Edit, Edit]:
    """Return the edit without one of its several units, and with that unit alone."""
    place = edit.units.index(unit)
    rest: dict[str, Any] = {"units": tuple(other for other in edit.units if other != unit)}
    alone: dict[str, Any] = {"units": (unit,)}
    for name in ("alpha", "value", "above"):
        numbers = getattr(edit, name)
        if numbers is not None and len(numbers) > 1:
            rest[name] = _short([number for index, number in enumerate(numbers) if index != place])
            alone[name] = (numbers[place],)
    return with_fields(edit, **rest), with_fields(edit, **alone)


def _per_unit(edit: Edit, name: str) -> tuple[float, ...]:
    numbers: tuple[float, ...] = getattr(edit, name)
    return numbers if len(numbers) > 1 else numbers * len(edit.units)


def _short(numbers: list[float]) -> tuple[float, ...]:
    """Write one number for all where all are equal."""
    return tuple(numbers[:1]) if len(set(numbers)) == 1 else tuple(numbers)
