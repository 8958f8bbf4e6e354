"""The versions of a session's patch: when each came to be, and what it changed.

    versions(folder, first=60)              # [VersionView(version=12, said="unit 7 of layer4 off", …), …]

Every change leaves a version in history/, whatever was undone since: any of them can be downloaded or brought back.
"""

from collections.abc import Mapping
from functools import lru_cache

from pydantic import BaseModel

from ganpatch.number_ranges import format_spans
from ganpatch.studio.history import Folder
from ganpatch.studio.state import Content, Entry


class VersionView(BaseModel):
    """A version: its number, the time at which it was kept, what it changed, how much of the patch is on."""

    version: int
    kept: float
    said: str
    edits: int
    units: int


def versions(folder: Folder, first: int) -> list[VersionView]:
    """Return the newest `first` versions, the newest at the head."""
    numbers = folder.versions()
    shown = numbers[:first]
    before = dict(zip(shown, [*numbers[1 : len(shown)], *numbers[len(shown) : len(shown) + 1]], strict=False))
    return [_view(folder, number, before.get(number)) for number in shown]


@lru_cache(maxsize=500)  # a version never changes
def _view(folder: Folder, number: int, before: int | None) -> VersionView:
    content = folder.content(number)
    on = [entry for entry in content.edits if entry.on]
    return VersionView(
        version=number,
        kept=folder.kept_at(number),
        said="the beginning" if before is None else difference(folder.content(before), content),
        edits=len(on),
        units=sum(len(entry.edit.units) for entry in on),
    )


def difference(before: Content, after: Content) -> str:
    """Describe in words what makes `after` another content than `before`."""
    old, new = ({entry.id: entry for entry in content.edits} for content in (before, after))
    flagged = _units(after, before)
    unflagged = _units(before, after)
    parts = [
        *(f"{_spans(units)} of {layer} flagged" for layer, units in flagged.items()),
        *(f"{_spans(units)} of {layer} no longer flagged" for layer, units in unflagged.items()),
        *(f"'{_name(new[name])}' painted" for name in new if name not in old and not new[name].is_plain),
        *(f"'{_name(old[name])}' removed" for name in old if name not in new and not old[name].is_plain),
    ]
    for name in (name for name in new if name in old):
        parts += _changes(old[name], new[name])
    if list(old) != list(new) and set(old) == set(new):
        parts.append(_moved(list(old), list(new), new))
    if before.name != after.name or before.description != after.description:
        parts.append(f"named {after.name}")
    if (strokes := len(after.labels) - len(before.labels)) != 0:
        parts.append(f"{abs(strokes)} stroke{'s' if abs(strokes) > 1 else ''} {'labelled' if strokes > 0 else 'gone'}")
    return "; ".join(parts) or "nothing that shows"


def _moved(old: list[str], new: list[str], entries: Mapping[str, Entry]) -> str:
    for place, name in enumerate(new, 1):
        if [one for one in old if one != name] == [one for one in new if one != name]:
            return f"'{_name(entries[name])}' moved to place {place}"
    return "another order"


def _changes(old: Entry, new: Entry) -> list[str]:
    name, parts = _name(new), []
    if old.on != new.on:
        parts.append(f"'{name}' {'on' if new.on else 'off'}")
    if old.edit.reason != new.edit.reason:
        parts.append(f"'{_name(old)}' called '{name}'")
    for field, words in (("alpha", "replaced"), ("value", "value"), ("above", "only above")):
        numbers = getattr(new.edit, field)
        if getattr(old.edit, field) != numbers and old.edit.units == new.edit.units:
            parts.append(f"'{name}' {words} {'everywhere' if numbers is None else _numbers(numbers)}")
    if old.edit.mask != new.edit.mask:
        parts.append(f"'{name}' painted on")
    return parts


def _units(content: Content, other: Content) -> Mapping[str, list[int]]:
    """Return the units of plain edits of `content`, by layer, that are in none of `other`."""
    known = {(entry.edit.layer, unit) for entry in other.edits if entry.is_plain for unit in entry.edit.units}
    found: dict[str, list[int]] = {}
    for entry in content.edits:
        for unit in entry.edit.units if entry.is_plain else ():
            if (entry.edit.layer, unit) not in known:
                found.setdefault(entry.edit.layer, []).append(unit)
    return found


def _spans(units: list[int]) -> str:
    return f"unit{'s' if len(units) > 1 else ''} {format_spans(sorted(units))}"


def _name(entry: Entry) -> str:
    return entry.edit.reason or entry.id


def _numbers(numbers: tuple[float, ...]) -> str:
    return f"{numbers[0]:.3g}" if len(set(numbers)) == 1 else f"{min(numbers):.3g} to {max(numbers):.3g}"
