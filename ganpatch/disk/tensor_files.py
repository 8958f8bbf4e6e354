"""Tensors that ganpatch itself writes and reads again, in safetensors files.

arrays = read_arrays(folder / "causes.safetensors", {"q99": (256,)})
with opened_tensors(Path("model.safetensors")) as file:
    file.names, file.metadata, file.tensor("main.0.weight")

Every safetensors file is read here, whoever wrote it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from ganpatch.disk.atomic_files import plain_size, replacing
from ganpatch.errors import GanpatchError, explained

Shapes = Mapping[str, tuple[int, ...]]


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
