"""Files that ganpatch itself writes and reads again: strict JSON, and arrays whose shapes are known.

manifest = read_section(folder / "causes.json", Manifest, limit=64_000_000)
arrays = read_arrays(folder / "causes.safetensors", {"q99": (256,)})
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ganpatch.errors import GanpatchError
from ganpatch.files import read_bytes, replacing, write_text

_Kind = TypeVar("_Kind", bound=BaseModel)

Shapes = Mapping[str, tuple[int, ...]]


class Section(BaseModel):
    """A part of a JSON file: no unknown keys, never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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
    """Say where the first fault is, and what it is."""
    first = fault.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place or 'the file'}: {first['msg']}"


def read_arrays(path: Path, shapes: Shapes, optional: Shapes | None = None) -> dict[str, Tensor]:
    """Read the arrays named in `shapes`, and of the `optional` ones those that are there.

    Raises GanpatchError when the file is broken, an array is missing, of another shape, or not finite.
    """
    optional = optional or {}
    try:
        with safe_open(path, framework="pt") as file:
            there = {name: shape for name, shape in optional.items() if name in set(file.keys())}
            wanted = {**shapes, **there}
            found = {name: file.get_tensor(name) for name in wanted}
    except (SafetensorError, OSError) as fault:
        raise GanpatchError(f"'{path}' is broken or missing: {fault}") from fault
    for name, shape in wanted.items():
        if tuple(found[name].shape) != shape or not torch.isfinite(found[name]).all():
            raise GanpatchError(f"'{path}': {name} is {list(found[name].shape)}, not {list(shape)}, or not finite")
    return found


def write_arrays(path: Path, arrays: Mapping[str, Tensor]) -> None:
    """Write arrays whole or not at all."""
    with replacing(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in arrays.items()}, temporary)
