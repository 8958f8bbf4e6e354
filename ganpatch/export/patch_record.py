"""What ganpatch did to a file, kept in the file itself: which patches, for which model, with what proof.

    record = read_record(Path("model.fixed.pt"))        # None where ganpatch did nothing
    record.base, record.result                          # fingerprints of the weights before and after

A safetensors file and an ONNX graph hold it in their metadata, a .pt, .pt2 or TorchScript archive as an entry of its
zip file that torch does not read. So the same patch is not applied twice, and one made for the base is recognised.
"""

import zipfile
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError

from ganpatch.disk.json_files import first_fault, parsed_section
from ganpatch.disk.tensor_files import opened_tensors
from ganpatch.errors import GanpatchError, listed
from ganpatch.patch.edit import Part
from ganpatch.patch.patch_file import Patch, Prints, Sha256
from ganpatch.untrusted.weight_files import kind_of
from ganpatch.untrusted.zip_archives import is_archive, opened_archive
from ganpatch.version import VERSION

KEY = "ganpatch.record"
ENTRY = "ganpatch.json"
_LARGEST = 64_000_000


class Touched(Part):
    """A tensor that was changed: its digests before and after."""

    before: str
    after: str


class AppliedPatch(Part):
    """A patch that is in the file: its digest, and the units that it touches, as "layer:unit"."""

    name: str
    digest: Sha256
    units: Annotated[tuple[str, ...], Field(strict=False)]
    folded: Annotated[tuple[str, ...], Field(strict=False)] = ()
    inserted: Annotated[tuple[str, ...], Field(strict=False)] = ()

    @classmethod
    def of(cls, patch: Patch, inserted: set[str]) -> Self:
        """Record `patch`, with the edits `inserted` as operations and the others in weights."""
        return cls(
            name=patch.name,
            digest=patch.digest,
            units=tuple(f"{edit.layer}:{unit}" for edit in patch.edits for unit in edit.units),
            folded=tuple(edit.id for edit in patch.edits if edit.id not in inserted),
            inserted=tuple(edit.id for edit in patch.edits if edit.id in inserted),
        )


class Record(Part):
    """All patches in a file, the weights before the first and after the last, what was touched, and the proof."""

    format: Literal["ganpatch-record/1"] = "ganpatch-record/1"
    tool: str = f"ganpatch {VERSION}"
    base: Prints | None = None
    result: Prints | None = None
    patches: Annotated[tuple[AppliedPatch, ...], Field(strict=False)]
    touched: dict[str, Touched] = {}
    proof: dict[str, float] = {}


def read_record(path: Path) -> Record | None:
    """Read what was done to a file; raise GanpatchError when the record is there and broken."""
    text = _stored_text(path)
    if text is None:
        return None
    return parse_record(text, path)


def parse_record(text: str | bytes, path: Path) -> Record:
    """Read the record that was kept in or beside `path`; raise GanpatchError when it is broken."""
    try:
        return parsed_section(text, Record, f"'{path}'")
    except ValidationError as fault:
        raise GanpatchError(f"'{path}': its ganpatch record is broken: {first_fault(fault)}") from fault


def write_into_zip(path: Path, record: Record) -> None:
    """Add the record to a zip archive of torch, which leaves entries that it does not know alone."""
    with zipfile.ZipFile(path, "a") as archive:
        folder = archive.namelist()[0].partition("/")[0]
        archive.writestr(f"{folder}/{ENTRY}", record.model_dump_json())


def refuse_repetition(path: Path, record: Record | None, patch: Patch, *, sequence: bool = False) -> None:
    """Raise GanpatchError when `patch` is already in the file, or touches units that a patch in it touches."""
    if record is None:
        return
    units = {f"{edit.layer}:{unit}" for edit in patch.edits for unit in edit.units}
    for there in record.patches:
        if there.digest == patch.digest:
            raise GanpatchError(f"patch '{patch.name}' is already applied to '{path}'")
        shared = sorted(units & set(there.units))
        if shared and not sequence:
            places = [place.replace(":", " unit ") for place in shared]
            raise GanpatchError(
                f"'{path}' already holds patch '{there.name}', which touches {listed(places, 4)} as well; "
                "--sequence applies this one after it"
            )


def is_made_for_base(record: Record | None, patch: Patch, weights: str) -> bool:
    """Return whether `patch` was made for the model as it was before the patches in the file, unchanged since."""
    if record is None or record.base is None or record.result is None:
        return False
    return record.base == patch.model.fingerprint and record.result.weights == weights


def _stored_text(path: Path) -> str | bytes | None:
    kind = kind_of(path)
    if kind == "safetensors":
        with opened_tensors(path) as file:
            return file.metadata.get(KEY)
    if kind == "onnx":
        from ganpatch.untrusted.onnx_files import onnx_metadata  # onnx takes long to import

        return onnx_metadata(path).get(KEY)
    if is_archive(path):
        with opened_archive(path) as archive:
            names = [name for name in archive.entries if name.rpartition("/")[2] == ENTRY]
            return archive.read(names[-1], limit=_LARGEST) if names else None
    return None
