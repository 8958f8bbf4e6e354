"""Files that ganpatch itself writes and reads again: strict JSON, and tensors in safetensors files.

manifest = read_section(folder / "causes.json", Manifest, limit=64_000_000)
arrays = read_arrays(folder / "causes.safetensors", {"q99": (256,)})
with opened_tensors(Path("model.safetensors")) as file:
    file.names, file.metadata, file.tensor("main.0.weight")

Every safetensors file and every JSON file is read here, whoever wrote it.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from ganpatch.disk.atomic_files import plain_size, read_bytes, replacing, write_text
from ganpatch.errors import GanpatchError, explained

_Kind = TypeVar("_Kind", bound=BaseModel)

Shapes = Mapping[str, tuple[int, ...]]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorFile:
    """An open safetensors file: the names of its tensors, its metadata."""

    what: str
    names: tuple[str, ...]
    metadata: dict[str, str]
    handle: Any

    def tensor(self, name: str) -> Tensor:
        """Read one tensor."""
        with explained(self.what):
            found: Tensor = self.handle.get_tensor(name)
            return found

    def tensors(self) -> dict[str, Tensor]:
        """Read all tensors, in the order of the file."""
        return {name: self.tensor(name) for name in self.names}


@contextmanager
def opened_tensors(path: Path, what: str = "") -> Iterator[TensorFile]:
    """Open a safetensors file; raise GanpatchError, which begins with `what`, when it is broken or missing."""
    what = what or f"'{path}' is a broken safetensors file"
    plain_size(path)
    with explained(what):
        opened = safe_open(path, framework="pt")
        handle = opened.__enter__()
        names, metadata = tuple(handle.keys()), dict(handle.metadata() or {})
    try:
        yield TensorFile(what=what, names=names, metadata=metadata, handle=handle)
    finally:
        opened.__exit__(None, None, None)


def read_arrays(path: Path, shapes: Shapes, optional: Shapes | None = None) -> dict[str, Tensor]:
    """Read the arrays named in `shapes`, and of the `optional` ones those that are there.

    Raises GanpatchError when the file is broken, an array is missing, of another shape, or not of finite numbers.
    """
    with opened_tensors(path, f"'{path}' is broken") as file:
        there = {name: shape for name, shape in (optional or {}).items() if name in file.names}
        wanted = {**shapes, **there}
        if missing := sorted(wanted.keys() - set(file.names)):
            raise GanpatchError(f"'{path}' is broken: it has no {missing[0]}")
        found = {name: file.tensor(name) for name in wanted}
    for name, shape in wanted.items():
        if tuple(found[name].shape) != shape or not is_finite(found[name]):
            raise GanpatchError(f"'{path}': {name} is {list(found[name].shape)}, not {list(shape)}, or not finite")
    return found


def is_finite(tensor: Tensor) -> bool:
    """Return whether a tensor holds numbers of a kind that can be computed with, all of them finite."""
    return tensor.dtype in _NUMBERS and bool(torch.isfinite(tensor).all())


_NUMBERS = {torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int32, torch.int64}


def write_arrays(path: Path, arrays: Mapping[str, Tensor]) -> None:
    """Write arrays whole or not at all."""
    with replacing(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in arrays.items()}, temporary)
