"""Opening safetensors files, whoever wrote them.

A file opened for NumPy needs no torch:

    with opened_tensors(Path("model.safetensors")) as file:
        file.names, file.metadata, file.tensor("main.0.weight")
    with opened_tensors(Path("fix.safetensors"), framework="np") as file:
        file.dtype("soft"), file.shape("soft"), file.array("soft")
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from safetensors import safe_open

from ganpatch.disk.atomic_files import plain_size, refuse_other_names
from ganpatch.errors import explained

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorFile:
    """An open safetensors file: the names of its tensors, its metadata."""

    what: str
    names: tuple[str, ...]
    metadata: dict[str, str]
    handle: Any

    def dtype(self, name: str) -> str:
        """Return the dtype of one tensor, "float32", without reading it."""
        found = str(self.handle.get_slice(name).get_dtype())
        return _DTYPES.get(found, found)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of one tensor, without reading it."""
        return tuple(self.handle.get_slice(name).get_shape())

    def tensor(self, name: str) -> "Tensor":
        """Read one tensor of a file opened for torch."""
        with explained(self.what):
            found: Tensor = self.handle.get_tensor(name)
            return found

    def array(self, name: str) -> "NDArray[Any]":
        """Read one tensor of a file opened for NumPy."""
        with explained(self.what):
            found: NDArray[Any] = self.handle.get_tensor(name)
            return found

    def tensors(self) -> "dict[str, Tensor]":
        """Read all tensors, in the order of the file."""
        return {name: self.tensor(name) for name in self.names}


@contextmanager
def opened_tensors(path: Path, what: str = "", *, framework: Literal["pt", "np"] = "pt") -> Iterator[TensorFile]:
    """Open a safetensors file; raise GanpatchError, which begins with `what`, when it is broken or missing."""
    what = what or f"'{path}' is a broken safetensors file"
    plain_size(path)
    refuse_other_names(path)
    with explained(what):
        opened = safe_open(path, framework=framework)
        handle = opened.__enter__()
        names, metadata = tuple(handle.keys()), dict(handle.metadata() or {})
    try:
        yield TensorFile(what=what, names=names, metadata=metadata, handle=handle)
    finally:
        opened.__exit__(None, None, None)
