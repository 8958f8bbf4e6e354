"""Flagged units as a patch: units named by hand, those flagged on the review page, or those that a method suggests.

    patch = flag_units("run", {"layer4": [3, 17]}, name="fix", reason="smeared sky")
    patch = flag_reviewed("run", name="fix")
    patch = flag_suggested("run", "first-look", first=20, name="fix")

Each patch switches its units off, unless a method suggests another edit of them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ganpatch.errors import GanpatchError
from ganpatch.finding.suggestions import chosen_method, read_suggestions
from ganpatch.number_ranges import parse_spans
from ganpatch.option_values import DEFAULT_METHOD
from ganpatch.patch.evidence import Evidence, Record
from ganpatch.patch.patch_file import Patch, Provenance, refused_in_words
from ganpatch.ranking.result import Manifest, read_manifest
from ganpatch.review.verdicts import VERDICTS, Flag, patch_from_flags, read_verdicts


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
    first: int = 20,
    layers: Sequence[str] = (),
    description: str = "",
) -> Patch:
    """Return the patch of the `first` units that `method` suggested for a run, over `layers` or all, with its edits.

    Raises GanpatchError when the method was not run, or not on one of `layers`.
    """
    about = {"name": name, "description": description}
    return patch_from_suggestion(Path(run), read_manifest(Path(run)), method, first, layers=layers, **about)


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


def refuse_beside_suggested(units: str | None, verdicts: Path | None) -> None:
    """Raise GanpatchError when units are named in two ways."""
    if units is not None or verdicts is not None:
        raise GanpatchError("give --suggested, or --units or --verdicts, not both")


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


def _only_layer(manifest: Manifest) -> str:
    if len(manifest.layers) > 1:
        raise GanpatchError(f"the run ranks {', '.join(manifest.layers)}; say which one with --layer")
    return next(iter(manifest.layers))
