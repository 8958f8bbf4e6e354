"""Flagged units as a patch: units named by hand, those flagged on the review page, or those that a method suggests.

    patch = flag_units("run", {"layer4": [3, 17]}, name="fix", reason="smeared sky")
    patch = flag_reviewed("run", name="fix")
    patch = flag_suggested("run", "first-look", first=20, name="fix")
    patch = flag_suggested("run", "set-1,set-3", name="fix")

Each patch switches its units off, unless a method suggests another edit of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganpatch.errors import GanpatchError, near_miss
from ganpatch.finding.suggestions import UnitSet, chosen_method, read_sets, read_suggestions
from ganpatch.number_ranges import format_spans, parse_spans
from ganpatch.option_values import DEFAULT_METHOD, SETS
from ganpatch.patch.edit import Edit
from ganpatch.patch.evidence import Evidence, Record
from ganpatch.patch.patch_file import Patch, Provenance, refused_in_words
from ganpatch.ranking.result import Manifest, read_manifest
from ganpatch.review.verdicts import VERDICTS, Flag, patch_from_flags, read_verdicts

FIRST = 20  # suggested units that become a patch


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What `ganpatch flag` was asked to flag: units by number, those of a file of verdicts, or suggested ones."""

    units: str | None = None
    layer: str | None = None
    reason: str = ""
    verdicts: Path | None = None
    suggested: str | None = None
    first: int | None = None


def flag_units(
    run: str | Path, units: Mapping[str, Sequence[int]], *, name: str, reason: str = "", description: str = ""
) -> Patch:
    """Return the patch that switches off `units` of each layer of a ranked run.

    Raises GanpatchError when the run does not rank a layer, or a unit is outside of it.
    """
    with refused_in_words("the flags"):
        flags = [Flag(layer=layer, unit=unit, reason=reason) for layer, chosen in units.items() for unit in chosen]
    return patch_from_flags(read_manifest(Path(run)), flags, name=name, description=description)


def flag_reviewed(run: str | Path, verdicts: str | Path | None = None, *, name: str, description: str = "") -> Patch:
    """Return the patch of the units flagged on the review page of a run, or in a downloaded file of `verdicts`.

    Raises GanpatchError when nothing is flagged, or the verdicts are of another run.
    """
    manifest, path = read_manifest(Path(run)), None if verdicts is None else Path(verdicts)
    flags = chosen_flags(Path(run), manifest, units=None, layer=None, reason="", verdicts=path)
    return patch_from_flags(manifest, flags, name=name, description=description)


def flag_suggested(
    run: str | Path,
    method: str = DEFAULT_METHOD,
    *,
    name: str,
    first: int | None = None,
    layers: Sequence[str] = (),
    description: str = "",
) -> Patch:
    """Return the patch of the `first` units (20) that `method` suggested, over `layers` or all, with its edits.

    Of sets, `method` names those to flag, as "set-1,set-3", or is "sets" for the `first` of them.
    Raises GanpatchError when the method was not run, or not on one of `layers`.
    """
    folder, about = Path(run), {"name": name, "description": description}
    manifest = read_manifest(folder)
    if method == SETS or method.startswith("set-"):
        return patch_from_sets(folder, manifest, _set_names(folder, manifest, method, first, layers), **about)
    return patch_from_suggestion(folder, manifest, method, first or FIRST, layers=layers, **about)


def _set_names(
    folder: Path, manifest: Manifest, method: str, first: int | None, layers: Sequence[str]
) -> Sequence[str]:
    """Return the names of the sets that are asked for."""
    if layers:
        raise GanpatchError("--layer does not go with sets: each has its own layer")
    if method != SETS:
        if first is not None:
            raise GanpatchError(f"--first does not go with {method}; it goes with --suggested {SETS}")
        return [name.strip() for name in method.split(",")]
    if first is None:
        raise GanpatchError(
            f"name the sets that draw a fault, as --suggested set-1,set-3, or how many: --suggested {SETS} --first 4"
        )
    names = [one.name for one in read_sets(folder, manifest)[:first]]
    return names or ["set-1"]


def flag_as_asked(folder: Path, asked: Asked, *, name: str, description: str = "") -> Patch:
    """Return the patch that the command line asks for; raise GanpatchError when the request is unclear."""
    about = {"name": name, "description": description}
    if asked.suggested:
        if asked.units is not None or asked.verdicts is not None:
            raise GanpatchError("give --suggested, or --units or --verdicts, not both")
        layers = [asked.layer] if asked.layer else ()
        return flag_suggested(folder, asked.suggested, first=asked.first, layers=layers, **about)
    manifest = read_manifest(folder)
    flags = chosen_flags(
        folder, manifest, units=asked.units, layer=asked.layer, reason=asked.reason, verdicts=asked.verdicts
    )
    return patch_from_flags(manifest, flags, **about)


def chosen_flags(
    folder: Path, manifest: Manifest, *, units: str | None, layer: str | None, reason: str, verdicts: Path | None
) -> tuple[Flag, ...]:
    """Return the flags that a command asks for; raise GanpatchError when the request is unclear."""
    if units is not None and verdicts is not None:
        raise GanpatchError("give --units or --verdicts, not both")
    if units is not None:
        name = layer or _only_layer(manifest)
        with refused_in_words("the flags"):
            return tuple(Flag(layer=name, unit=unit, reason=reason) for unit in parse_spans(units, what="unit"))
    if layer or reason:
        raise GanpatchError("--layer and --reason go with --units")
    path = verdicts or folder / VERDICTS
    if not path.exists():
        raise GanpatchError(
            f"nothing is flagged in '{folder}' yet: give --units or --verdicts, or use 'ganpatch review'"
        )
    return read_verdicts(path, manifest).flags


def patch_from_suggestion(
    folder: Path, manifest: Manifest, method: str, first: int, *, layers: Sequence[str] = (), **about: Any
) -> Patch:
    """Return the patch of the `first` units that `method` suggested, over all layers or those named, with its edits."""
    suggested = chosen_method(read_suggestions(folder, manifest), method, folder)
    for layer in layers:
        if layer not in suggested.layers:
            have = ", ".join(suggested.layers)
            raise GanpatchError(f"'{method}' has no suggestions for layer '{layer}'; it has them for {have}")
    ranked = sorted(
        (-found.score[unit].item(), layer, unit)
        for layer, found in suggested.layers.items()
        if not layers or layer in layers
        for unit in found.first(first)
    )[:first]
    edits = []
    for layer, found in suggested.layers.items():
        units = [unit for _, of, unit in ranked if of == layer]
        if units:
            edits.append(found.edit(layer, units, f"suggested by {method}"))
    settings = {"method": method, **suggested.facts.settings}
    seen = Evidence.of(Record(made_by="ganpatch suggest", chosen_on=manifest.seeds, settings=settings))
    with refused_in_words("the patch"):
        return Patch(model=manifest.model, edits=tuple(edits), evidence=seen, provenance=Provenance.now(), **about)


def patch_from_sets(folder: Path, manifest: Manifest, names: Sequence[str], **about: Any) -> Patch:
    """Return the patch of the suggested sets `names`, one edit per set; a unit is in the first set that has it."""
    found = {one.name: one for one in read_sets(folder, manifest)}
    edits: list[Edit] = []
    for name in dict.fromkeys(names):
        if name not in found:
            have = f"it has {', '.join(found)}" if found else f"make them with ganpatch suggest {folder} --by {SETS}"
            raise GanpatchError(f"'{folder}' has no {name}; {have}{near_miss(name, found)}")
        taken = {unit for edit in edits if edit.layer == found[name].layer for unit in edit.units}
        if not taken.issuperset(found[name].units):
            edits.append(found[name].edit(taken))
    chosen_on = format_spans(sorted({*parse_spans(manifest.seeds, what="seed"), *_images(found, names)}))
    settings = {"method": SETS, "sets": list(dict.fromkeys(names))}
    seen = Evidence.of(Record(made_by="ganpatch suggest", chosen_on=chosen_on, settings=settings))
    with refused_in_words("the patch"):
        return Patch(model=manifest.model, edits=tuple(edits), evidence=seen, provenance=Provenance.now(), **about)


def where_weights_fail(patch: Patch) -> str | None:
    """Return what is to be known before a patch is applied to weights, or None: edits at a level do not fold."""
    held = [edit.id for edit in patch.edits if edit.above is not None]
    if not held:
        return None
    return (
        f"{', '.join(held)}: held at a level (above:), which depends on the activation, so it cannot go into weights; "
        "apply it to .pt2 or .onnx, or as a hook"
    )


def _images(found: Mapping[str, UnitSet], names: Sequence[str]) -> set[int]:
    return {seed for name in names for seed in found[name].images}


def _only_layer(manifest: Manifest) -> str:
    if len(manifest.layers) > 1:
        raise GanpatchError(f"the run ranks {', '.join(manifest.layers)}; say which one with --layer")
    return next(iter(manifest.layers))
