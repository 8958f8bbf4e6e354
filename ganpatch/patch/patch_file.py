"""A patch: the model that it is for, and its edits in order; a small YAML file, which never names code.

    patch = Patch.load("fix.yaml")          # raises GanpatchError with all faults and their paths
    patch.save("copy.yaml")                 # the same bytes for the same patch

Masks are in a safetensors file beside the YAML file, each with its sha256.
"""

import datetime
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import Field, GetCoreSchemaHandler, ValidationError, model_validator
from pydantic_core import CoreSchema

from ganpatch.disk.atomic_files import (
    candidates,
    plain_size,
    read_bytes,
    refuse_other_names,
    replacing_both,
    write_text,
)
from ganpatch.disk.tensor_files import opened_tensors
from ganpatch.disk.text_bounds import first_faults
from ganpatch.errors import GanpatchError, near_miss
from ganpatch.generator.fingerprints import Fingerprint, array_digest
from ganpatch.html_tables import html_table
from ganpatch.patch.edit import LAYER, MASK_PLACE, NAME, Edit, Mask, Part, raise_faults
from ganpatch.patch.evidence import Evidence, Figure, Record
from ganpatch.untrusted.strict_yaml import Document, Fault, YamlFaults, read_yaml, shown_path, write_yaml
from ganpatch.version import VERSION

_LARGEST = 2_000_000  # read in half a minute
_LARGEST_MASKS = 1_000_000_000
MOST_LETTERS = 100  # of a name

SHA256 = r"^sha256:[0-9a-f]{64}$"
Sha256 = Annotated[str, Field(pattern=SHA256)]


class Prints(Part):
    """The fingerprint of a model's parameters, as it is written in a patch."""

    structure: Sha256
    """Digest of their names and shapes; another one is always an error."""
    weights: Sha256
    """Digest of their types and bytes as well; another one is an error unless it is allowed."""

    @classmethod
    def of(cls, fingerprint: Fingerprint) -> Self:
        """Return a fingerprint as part of a patch."""
        return cls(structure=fingerprint.structure, weights=fingerprint.weights)


class Model(Part):
    """Which model a patch was made for; `name` is for people; the fingerprint identifies it."""

    name: Annotated[str, Field(examples=["churches"])]
    """What people call it."""
    fingerprint: Prints
    """Which weights it has."""

    @classmethod
    def of(cls, name: str, fingerprint: Fingerprint) -> Self:
        """Return a model of this name and fingerprint."""
        return cls(name=name, fingerprint=Prints.of(fingerprint))


class Provenance(Part):
    """Which tool wrote the patch, when, and from which patches."""

    tool: Annotated[str, Field(examples=["ganpatch 0.1.0"])] = ""
    """What wrote the file."""
    created: Annotated[str, Field(examples=["2026-11-23T07:50:00Z"])] = ""
    """When."""
    parents: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Names of the patches that this one was made of."""

    @classmethod
    def now(cls, parents: tuple[str, ...] = ()) -> Self:
        """Return the provenance of a patch that this version of ganpatch makes now."""
        created = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return cls(tool=f"ganpatch {VERSION}", created=created, parents=parents)


class Patch(Part):
    """A patch: which model it is for, its edits in order, and what was measured."""

    format: Literal["ganpatch/1"] = "ganpatch/1"
    """The version of this format."""
    name: Annotated[str, Field(pattern=NAME, max_length=MOST_LETTERS, examples=["churches-smears"])]
    """Its name."""
    description: str = ""
    """What it repairs, for people."""
    model: Model
    """The model that it is for."""
    edits: Annotated[tuple[Edit, ...], Field(strict=False, min_length=1)]
    """What it does, in the order in which it does it."""
    evidence: Evidence = Evidence()
    """How its units were chosen, and what was measured, on which seeds."""
    provenance: Provenance = Provenance()
    """Where it comes from."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return handler(source)  # the faults of all edits are reported, not only those of the first wrong one

    @model_validator(mode="after")
    def _ids_differ(self) -> Self:
        first: dict[str, int] = {}
        for index, edit in enumerate(self.edits):
            if first.setdefault(edit.id, index) != index:
                raise_faults([(("edits", index, "id"), f"'{edit.id}' is already the id of edits[{first[edit.id]}]")])
        return self

    @classmethod
    def load(cls, path: str | Path) -> "Patch":
        """Read a patch file and its masks; raise GanpatchError with all its faults."""
        path = Path(path)
        text = read_bytes(path, limit=_LARGEST)
        document = Document({})
        try:
            document = read_yaml(text.decode())
            patch = cls.model_validate(document.data)
            return _with_masks(patch, path)
        except UnicodeDecodeError as fault:
            raise GanpatchError(f"{path}: not a text file: {fault}") from fault
        except YamlFaults as fault:
            raise _refusal(path, fault.faults, fault.lines) from fault
        except ValidationError as fault:
            raise _refusal(path, list(_faults_of(fault)), document.lines) from fault
        except _MaskFaults as fault:
            raise _refusal(path, fault.faults, document.lines) from fault

    def save(self, path: str | Path) -> None:
        """Write the patch, and its masks beside it as <stem>.safetensors.

        Raises GanpatchError when the file could not be read again: `model_copy` checks nothing.
        """
        path = Path(path)
        with refused_in_words(f"'{path}' is not written"):
            Patch.model_validate(self.plain())
        placed = self._with_masks_at(f"{path.stem}.safetensors")
        masks = {edit.id: edit.mask.array for edit in placed.edits if edit.mask}
        if not masks:
            write_text(path, placed.to_yaml())
            return
        beside = path.with_suffix(".safetensors")
        refuse_other_names(beside)
        _refuse_foreign(beside, path)
        from safetensors.numpy import save_file  # loads NumPy, which a patch without masks does not need

        with replacing_both(path, beside) as (text, tensors):
            text.write_text(placed.to_yaml(), encoding="utf-8")
            save_file(masks, tensors)

    def with_record(self, record: Record) -> "Patch":
        """Return this patch with `record` in its evidence, in place of an earlier one that it repeats."""
        return self.model_copy(update={"evidence": self.evidence.with_record(record)})

    def to_yaml(self) -> str:
        """Return the text of the patch file, fields at their defaults left out."""
        return write_yaml(self.plain())

    @property
    def digest(self) -> str:
        """The sha256 of the edits alone; names, reasons, evidence and provenance do not change it."""
        bare = [
            edit.model_copy(update={"reason": "", "id": "x"}) for edit in self._with_masks_at("x.safetensors").edits
        ]
        plain = write_yaml([edit.plain() for edit in bare])
        return f"sha256:{hashlib.sha256(plain.encode()).hexdigest()}"

    def _repr_html_(self) -> str:
        from ganpatch.patch.combining import patch_rows  # which reads patches

        title = f"{self.name}, for {self.model.name}{': ' + self.description if self.description else ''}"
        return html_table(["edit", "layer", "units", "what", "reason"], patch_rows(self), title=title, numeric=False)

    def _with_masks_at(self, file: str) -> "Patch":
        edits = [
            edit.model_copy(update={"mask": edit.mask.placed(f"{file}#{edit.id}")}) if edit.mask else edit
            for edit in self.edits
        ]
        return self.model_copy(update={"edits": tuple(edits)})


def _refuse_foreign(masks: Path, path: Path) -> None:
    """Raise GanpatchError when the file where the masks of a patch go is something else: a model, perhaps."""
    if masks.exists() and f"{masks.name}#" not in (path.read_text(errors="replace") if path.is_file() else ""):
        raise GanpatchError(
            f"'{masks}' exists and is not the masks file of '{path}', which would replace it; choose another name"
        )


class _MaskFaults(Exception):
    def __init__(self, faults: list[Fault]) -> None:
        super().__init__()
        self.faults = faults


def _with_masks(patch: Patch, path: Path) -> Patch:
    """Read the masks of `patch`; raise _MaskFaults with all that is wrong with them."""
    faults: list[Fault] = []
    edits: list[Edit] = []
    for index, edit in enumerate(patch.edits):
        if edit.mask is not None:
            try:
                edit = edit.model_copy(update={"mask": _read_mask(edit, edit.mask, path.parent)})
            except GanpatchError as fault:
                faults.append(Fault(("edits", index, "mask"), str(fault)))
        edits.append(edit)
    if faults:
        raise _MaskFaults(faults)
    return patch.model_copy(update={"edits": tuple(edits)})


def _read_mask(edit: Edit, mask: Mask, folder: Path) -> Mask:
    name, _, key = mask.tensor.partition("#")
    place = PurePosixPath(name)
    if place.is_absolute() or ".." in place.parts or "\\" in name or ":" in name:
        raise GanpatchError(f"'{name}' leaves the patch's folder; a mask file must be next to its patch")
    found = [path for path in candidates(folder / name) if path.is_file()]
    if not found:
        raise GanpatchError(f"the file '{folder / name}' is missing")
    faults = []
    for candidate in found:
        try:
            return _mask_in(candidate, key, edit, mask)
        except GanpatchError as fault:
            faults.append(fault)
    raise faults[0]


def _mask_in(path: Path, key: str, edit: Edit, mask: Mask) -> Mask:
    if plain_size(path) > _LARGEST_MASKS:
        raise GanpatchError(f"the file '{path}' is larger than {_LARGEST_MASKS:,} bytes")
    with opened_tensors(path, f"'{path.name}' is a broken safetensors file", framework="np") as file:
        if key not in file.names:
            raise GanpatchError(f"'{path.name}' has no tensor '{key}'{near_miss(key, file.names)}")
        right = {tuple(mask.size), (len(edit.units), *mask.size)}
        dtype, shape = file.dtype(key), file.shape(key)
        if shape not in right or dtype != "float32":
            wanted = " or ".join(str(list(one)) for one in sorted(right, key=len))
            raise GanpatchError(f"'{mask.tensor}' is {dtype} {list(shape)}, not float32 {wanted}")
        values = file.array(key)
    if array_digest(values) != mask.sha256:
        raise GanpatchError(f"'{mask.tensor}' has changed: its sha256 is {array_digest(values)}")
    if not ((values >= 0) & (values <= 1)).all():
        raise GanpatchError(f"'{mask.tensor}' has values outside [0, 1]")
    return mask.filled(values)


@contextmanager
def refused_in_words(what: str) -> Iterator[None]:
    """Turn the faults of a patch, or of a part of one, that is made inside the block into a GanpatchError."""
    try:
        yield
    except ValidationError as fault:
        rows = [f"{what}: {shown_path(one.path)}: {one.text}" for one in _faults_of(fault)]
        raise GanpatchError(first_faults(rows)) from fault


def _refusal(path: Path, faults: list[Fault], lines: dict[tuple[str | int, ...], int]) -> GanpatchError:
    rows = []
    for fault in faults:
        known = fault.path
        while known and known not in lines:  # a single number is checked as a list of one
            known = known[:-1]
        line = f" (line {lines[known]})" if known else ""
        rows.append(f"{path}: {shown_path(known)}: {fault.text}{line}")
    return GanpatchError(first_faults(rows))


def _faults_of(error: ValidationError) -> Iterator[Fault]:
    """Translate pydantic's findings into paths in the file and plain words."""
    found = error.errors()
    for one in found:
        path, kind = tuple(one["loc"]), one["type"]
        if kind == "faults":
            yield from (Fault((*path, *inner), text) for inner, text in one["ctx"]["faults"])
        elif kind == "extra_forbidden":
            known = list(_part_at(path[:-1]).model_fields)
            guess = near_miss(str(path[-1]), known) or f"; the keys here are {', '.join(known)}"
            yield Fault(path, f"unknown key{guess}")
        elif kind == "missing":
            yield Fault(path[:-1], f"'{path[-1]}' is missing")
        elif kind in ("model_type", "model_attributes_type"):
            yield Fault(path, f"should be a mapping with the keys {', '.join(_part_at(path).model_fields)}")
        elif kind == "too_short":
            if not any(other["loc"][: len(path)] == path for other in found if other is not one):
                yield Fault(path, f"should have at least {one['ctx']['min_length']} item")
        else:
            yield Fault(path, _in_words(one))


PATTERNS = {  # what texts must look like, in words
    SHA256: "should look like sha256:<64 hex digits>",
    NAME: "may hold letters, digits, '.', '_' and '-', and begins with a letter or digit",
    LAYER: "should be a dotted module name without spaces",
    MASK_PLACE: "should look like file.safetensors#name",
}


def _in_words(found: Any) -> str:
    words = PATTERNS.get(found.get("ctx", {}).get("pattern", ""), found["msg"].removeprefix("Input "))
    given = found["input"]
    shown = f", not {str(given)[:60]!r}" if isinstance(given, str | int | float) else ""
    return f"{words[0].lower()}{words[1:]}{shown}"


def _part_at(path: tuple[str | int, ...]) -> type[Part]:
    """Return the class that describes the mapping at `path`."""
    places: dict[tuple[str | int, ...], type[Part]] = {
        (): Patch,
        ("model",): Model,
        ("model", "fingerprint"): Prints,
        ("evidence",): Evidence,
        ("evidence", "records"): Record,
        ("provenance",): Provenance,
        ("edits",): Edit,
        ("edits", "mask"): Mask,
    }
    names = tuple(part for part in path if isinstance(part, str))
    return Figure if names[:3] == ("evidence", "records", "figures") else places[names]
