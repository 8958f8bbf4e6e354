"""JSON files, read strictly, and written whole or not at all.

    manifest = read_section(folder / "causes.json", Manifest, limit=64_000_000)
    write_section(folder / "causes.json", manifest)

Every JSON file is read here, whoever wrote it.
"""

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ganpatch.disk.atomic_files import read_bytes, write_text
from ganpatch.errors import GanpatchError, explained

_Kind = TypeVar("_Kind", bound=BaseModel)


class Section(BaseModel):
    """A part of a JSON file: no unknown keys, never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def read_section(path: Path, kind: type[_Kind], *, limit: int) -> _Kind:
    """Read a JSON file of at most `limit` bytes; raise GanpatchError naming its first fault."""
    try:
        return kind.model_validate_json(read_bytes(path, limit=limit))
    except ValidationError as fault:
        raise GanpatchError(f"'{path}' is broken: {first_fault(fault)}") from fault


def write_section(path: Path, section: BaseModel) -> None:
    """Write a JSON file whole or not at all."""
    write_text(path, section.model_dump_json(indent=1) + "\n")


def first_fault(fault: ValidationError) -> str:
    """Return where the first fault is, and what it is."""
    first = fault.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place or 'the file'}: {first['msg']}"


def parsed_json(content: str | bytes, where: str) -> dict[str, Any]:
    """Read JSON that is an object; raise GanpatchError otherwise."""
    with explained(f"{where} is not JSON"):
        found = json.loads(content)
    if not isinstance(found, dict):
        raise GanpatchError(f"{where} is a {type(found).__name__}, not an object")
    return found
