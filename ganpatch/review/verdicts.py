"""Verdicts: which units a person flagged and why; and the patch that they make.

Example:

    flags = read_verdicts(Path("verdicts.json"), manifest)
    patch = patch_from_flags(manifest, flags, name="fix")
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from ganpatch.disk.atomic_files import read_bytes, write_text
from ganpatch.disk.json_files import Section, first_fault, parsed_section
from ganpatch.disk.text_bounds import MOST_FAULTS, first_faults
from ganpatch.errors import GanpatchError, near_miss
from ganpatch.patch.edit import Edit, LayerName, id_of
from ganpatch.patch.evidence import Evidence, Record
from ganpatch.patch.patch_file import Patch, Provenance, refused_in_words
from ganpatch.ranking.result import Manifest
from ganpatch.untrusted.strict_yaml import shown_path

VERDICTS = "verdicts.json"
REVIEWING = ".review.lock"  # held by who may change them
_LARGEST = 8_000_000


class Flag(Section):
    """One flagged unit."""

    layer: LayerName
    unit: Annotated[int, Field(ge=0, strict=True)]
    reason: Annotated[str, Field(max_length=2000)] = ""


class Verdicts(Section):
    """verdicts.json, as the review page writes it."""

    format: Literal["ganpatch-verdicts/1"] = "ganpatch-verdicts/1"
    run: str
    flags: tuple[Flag, ...]


def parse_verdicts(content: bytes, manifest: Manifest, where: str) -> Verdicts:
    """Read verdicts that must be about this run; raise GanpatchError with all their faults."""
    try:
        verdicts = parsed_section(content, Verdicts, where)
    except ValidationError as fault:
        if fault.error_count() > MOST_FAULTS:
            raise GanpatchError(f"{where}: {first_fault(fault)}") from fault
        faults = [f"{where}: {shown_path(found['loc'])}: {found['msg'].lower()}" for found in fault.errors()]
        raise GanpatchError("\n".join(faults)) from fault
    if verdicts.run != manifest.run:
        raise GanpatchError(f"{where}: the verdicts are about run {verdicts.run}, this is run {manifest.run}")
    wrong = [(index, _fault(flag, manifest)) for index, flag in enumerate(verdicts.flags)]
    faults = [f"{where}: $.flags[{index}]: {text}" for index, text in wrong if text]
    if faults:
        raise GanpatchError(first_faults(faults))
    return verdicts


def read_verdicts(path: Path, manifest: Manifest) -> Verdicts:
    """Read a verdicts file."""
    return parse_verdicts(read_bytes(path, limit=_LARGEST), manifest, str(path))


def save_verdicts(folder: Path, verdicts: Verdicts) -> None:
    """Keep verdicts in the run folder, whole or not at all."""
    write_text(folder / VERDICTS, verdicts.model_dump_json(indent=1) + "\n")


def patch_from_flags(
    manifest: Manifest,
    flags: Sequence[Flag],
    *,
    name: str,
    description: str = "",
) -> Patch:
    """Make the patch that ablates every flagged unit: one edit per layer and reason, in the order of the layers."""
    if not flags:
        raise GanpatchError("no unit is flagged; flag some on the review page, or name them with --units")
    for flag in flags:
        if fault := _fault(flag, manifest):
            raise GanpatchError(fault)
    groups: dict[tuple[str, str], set[int]] = {}
    for layer in manifest.layers:
        for flag in flags:
            if flag.layer == layer:
                groups.setdefault((layer, flag.reason), set()).add(flag.unit)
    edits = [
        Edit(
            id=f"{id_of(layer)}-{number}",
            layer=layer,
            channels=manifest.layers[layer].units,
            units=tuple(sorted(units)),
            reason=reason,
        )
        for number, ((layer, reason), units) in enumerate(groups.items(), 1)
    ]
    seen = Record(made_by="review", chosen_on=manifest.seeds, settings={"score": manifest.score, "run": manifest.run})
    with refused_in_words("the patch"):
        return Patch(
            name=name,
            description=description,
            model=manifest.model,
            edits=tuple(edits),
            evidence=Evidence.of(seen),
            provenance=Provenance.now(),
        )


def _fault(flag: Flag, manifest: Manifest) -> str | None:
    if flag.layer not in manifest.layers:
        ranked = ", ".join(manifest.layers)
        return f"layer '{flag.layer}' is not in this run; it ranks {ranked}{near_miss(flag.layer, manifest.layers)}"
    units = manifest.layers[flag.layer].units
    if flag.unit >= units:
        return f"unit {flag.unit} is outside layer '{flag.layer}' ({units} units, 0-{units - 1})"
    return None
