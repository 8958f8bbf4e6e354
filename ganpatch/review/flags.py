"""Which flags a command means: named units, a downloaded file, or what the review server saved."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ganpatch.errors import GanpatchError
from ganpatch.finding.suggestions import chosen_method, read_suggestions
from ganpatch.number_ranges import parse_spans
from ganpatch.patch.evidence import Evidence, Record
from ganpatch.patch.patch_file import Patch, Provenance
from ganpatch.ranking.result import Manifest
from ganpatch.review.verdicts import VERDICTS, Flag, read_verdicts


def chosen_flags(
    folder: Path, manifest: Manifest, *, units: str | None, layer: str | None, reason: str, verdicts: Path | None
) -> tuple[Flag, ...]:
    """Return the flags that were asked for; raise GanpatchError when the request is unclear."""
    if units is not None and verdicts is not None:
        raise GanpatchError("give --units or --verdicts, not both")
    if units is not None:
        name = layer or _only_layer(manifest)
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
    """Make the patch of the `first` units that `method` suggested, over all layers or those named, with its edits."""
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
    return Patch(model=manifest.model, edits=tuple(edits), evidence=seen, provenance=Provenance.now(), **about)


def _only_layer(manifest: Manifest) -> str:
    if len(manifest.layers) > 1:
        raise GanpatchError(f"the run ranks {', '.join(manifest.layers)}; say which one with --layer")
    return next(iter(manifest.layers))
