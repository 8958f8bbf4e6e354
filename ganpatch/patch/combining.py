"""Compare patch files, merge them, and list what one does.

Nothing here needs the model, or torch:

    diff_patches(old, new)                   # ["layer4 unit 12: alpha 1 -> 0.5", ...]
    merge_patches([first, second], name="both")
"""

from collections.abc import Iterator, Sequence

from ganpatch.errors import GanpatchError, listed
from ganpatch.number_ranges import format_spans
from ganpatch.patch.edit import Edit
from ganpatch.patch.evidence import Evidence
from ganpatch.patch.patch_file import Patch, Provenance

Place = tuple[str, int]


def diff_patches(old: Patch, new: Patch) -> list[str]:
    """Return what `new` does differently from `old`, as lines: units removed (-), added (+) and changed (~)."""
    lines = []
    for kind in ("structure", "weights"):
        before, after = (getattr(patch.model.fingerprint, kind) for patch in (old, new))
        if before != after:
            lines.append(f"model {kind}: {before[7:19]} -> {after[7:19]}")
    olds, news = _settings(old), _settings(new)
    lines += [f"- {text}" for text in _described(olds, olds.keys() - news.keys())]
    lines += [f"+ {text}" for text in _described(news, news.keys() - olds.keys())]
    for layer, unit in sorted(olds.keys() & news.keys()):
        before, after = olds[layer, unit], news[layer, unit]
        changes = [
            f"{name} {before.get(name)} -> {after.get(name)}"
            for name in before | after
            if before.get(name) != after.get(name)
        ]
        if changes:
            lines.append(f"~ {layer} unit {unit}: {', '.join(changes)}")
    return lines


def merge_patches(patches: Sequence[Patch], *, name: str, sequence: bool = False) -> Patch:
    """Merge patches of one model into one, edits in their order.

    Raises GanpatchError when they are for different weights, or touch the same unit without `sequence`.
    """
    first = patches[0]
    for other in patches[1:]:
        if other.model.fingerprint != first.model.fingerprint:
            raise GanpatchError(f"patches '{first.name}' and '{other.name}' are for different models or weights")
    touched: dict[Place, str] = {}
    for patch in patches:
        shared = sorted(place for place in _settings(patch) if place in touched)
        if shared and not sequence:
            layer, unit = shared[0]
            places = [f"{layer} unit {unit}" for layer, unit in shared]
            raise GanpatchError(
                f"patches '{touched[layer, unit]}' and '{patch.name}' both touch {listed(places, 4)}; "
                "--sequence applies them one after the other"
            )
        touched |= dict.fromkeys(_settings(patch), patch.name)
    edits = tuple(edit.model_copy(update={"id": new}) for edit, new in _with_new_ids(patches))
    return first.model_copy(
        update={
            "name": name,
            "edits": edits,
            "evidence": Evidence().with_records(record for one in patches for record in one.evidence.choices().records),
            "description": "\n".join(dict.fromkeys(patch.description for patch in patches if patch.description)),
            "provenance": Provenance.now(parents=tuple(patch.digest for patch in patches)),
        }
    )


def patch_rows(patch: Patch) -> list[tuple[str, str, str, str, str]]:
    """Return rows of edit, layer, units, what happens to them, and why."""
    return [
        (edit.id, edit.layer, f"{format_spans(edit.units)} of {edit.channels}", _action(edit), edit.reason)
        for edit in patch.edits
    ]


def _action(edit: Edit) -> str:
    ablates = edit.alpha == (1.0,) and edit.value == (0.0,)
    parts = ["ablate"] if ablates else [f"alpha {_numbers(edit.alpha)}", f"value {_numbers(edit.value)}"]
    if edit.above is not None:
        parts.append(f"where above {_numbers(edit.above)}")
    if edit.mask is not None:
        parts.append(f"inside a {edit.mask.size[0]}x{edit.mask.size[1]} mask")
    if edit.call is not None:
        parts.append(f"in run {edit.call}")
    return ", ".join(parts)


def _numbers(numbers: Sequence[float]) -> str:
    return listed([f"{number:g}" for number in numbers], 4)


def _settings(patch: Patch) -> dict[Place, dict[str, object]]:
    """Return what happens to each unit of each layer; for a unit that several edits touch, of all of them in order."""
    found: dict[Place, dict[str, object]] = {}
    for edit in patch.edits:
        for index, unit in enumerate(edit.units):
            one = {
                name: numbers[index if len(numbers) > 1 else 0]
                for name in ("alpha", "value", "above")
                if (numbers := getattr(edit, name)) is not None
            }
            one |= {"mask": edit.mask.sha256[:12]} if edit.mask else {}
            one |= {"call": edit.call} if edit.call is not None else {}
            place = (edit.layer, unit)
            found[place] = (
                {name: f"{found[place].get(name)}, {one.get(name)}" for name in found[place] | one}
                if place in found
                else one
            )
    return found


def _described(settings: dict[Place, dict[str, object]], places: set[Place]) -> Iterator[str]:
    groups: dict[tuple[str, str], list[int]] = {}
    for layer, unit in sorted(places):
        shown = ", ".join(f"{name} {value}" for name, value in settings[layer, unit].items())
        groups.setdefault((layer, shown), []).append(unit)
    for (layer, shown), units in groups.items():
        yield f"{layer} units {format_spans(units)}: {shown}"


def _with_new_ids(patches: Sequence[Patch]) -> Iterator[tuple[Edit, str]]:
    taken: set[str] = set()
    for patch in patches:
        for edit in patch.edits:
            new, number = edit.id, 1
            while new in taken:
                number += 1
                new = f"{edit.id}-{number}"
            taken.add(new)
            yield edit, new
