"""JSON files, read strictly, and written whole or not at all.

    manifest = read_section(folder / "causes.json", Manifest, limit=64_000_000)
    write_section(folder / "causes.json", manifest)

Every JSON file is read here, whoever wrote it.
"""

import json
from inspect import signature
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema
from pydantic_core.core_schema import dict_schema

from ganpatch.disk.atomic_files import read_bytes, write_text
from ganpatch.disk.text_bounds import MOST_FAULTS, refuse_dense
from ganpatch.errors import GanpatchError, explained

# Older versions of pydantic cannot stop at the first fault of a dictionary.
_COLLECTIONS = {"list", "tuple", *(["dict"] if "fail_fast" in signature(dict_schema).parameters else [])}
_Kind = TypeVar("_Kind", bound=BaseModel)


def failing_fast(schema: Any) -> Any:
    """Return a schema whose lists stop at their first fault: a fault for each of a million elements takes gigabytes."""
    if isinstance(schema, list):
        return [failing_fast(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {name: part if name in ("metadata", "default") else failing_fast(part) for name, part in schema.items()}
    return {**kept, "fail_fast": True} if kept.get("type") in _COLLECTIONS else kept


class Section(BaseModel):
    """A part of a JSON file: no unknown keys, never changed; of a list with faults, the first one is reported."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return failing_fast(handler(source))  # type: ignore[no-any-return]


def read_section(path: Path, kind: type[_Kind], *, limit: int) -> _Kind:
    """Read a JSON file of at most `limit` bytes; raise GanpatchError naming its first fault."""
    try:
        return parsed_section(read_bytes(path, limit=limit), kind, f"'{path}'")
    except ValidationError as fault:
        raise GanpatchError(f"'{path}' is broken: {first_fault(fault)}") from fault


def parsed_section(content: bytes | str, kind: type[_Kind], where: str) -> _Kind:
    """Read JSON; raise GanpatchError when it holds too much for its size, ValidationError when it does not fit."""
    refuse_dense(content, where)
    return kind.model_validate_json(content)


def write_section(path: Path, section: BaseModel) -> None:
    """Write a JSON file whole or not at all."""
    write_text(path, section.model_dump_json(indent=1) + "\n")


def first_fault(fault: ValidationError) -> str:
    """Return where the first fault is, and what it is."""
    if fault.error_count() > MOST_FAULTS:  # listing them takes more memory than the file
        return f"it has {fault.error_count():,} faults; it may be a file of another kind"
    first = fault.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place or 'the file'}: {first['msg']}"


def parsed_json(content: str | bytes, where: str) -> dict[str, Any]:
    """Read JSON that is an object; raise GanpatchError otherwise."""
    refuse_dense(content, where)
    with explained(f"{where} is not JSON"):
        found = json.loads(content)
    if not isinstance(found, dict):
        raise GanpatchError(f"{where} is a {type(found).__name__}, not an object")
    return found
