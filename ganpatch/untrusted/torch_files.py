"""Read files of `torch.save`, of any version, without running anything that they name.

    content = read_torch(Path("model.pt"))      # dicts, lists, numbers, tensors on the CPU, as they were saved

torch has two formats: a zip archive with a pickle and one entry per piece of memory, and before 1.6 five pickles in a
row with the memory behind them. A tensor is a view of such a piece; it is refused where it reaches beyond it.
"""

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from ganpatch.disk.atomic_files import plain_size
from ganpatch.errors import GanpatchError, explained, listed
from ganpatch.untrusted.pickle_reader import PLAIN, Bounded, Named, Reader
from ganpatch.untrusted.zip_archives import Archive, is_archive, opened_archive

_LARGEST_PICKLE = 1_000_000_000
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """A piece of memory [N] uint8, and the dtype of its numbers."""

    memory: Tensor
    dtype: torch.dtype


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A class of storages that a pickle names."""

    dtype: torch.dtype


def read_torch(path: Path) -> Any:
    """Read a file of torch; raise GanpatchError when it is broken, or names something unknown."""
    if is_archive(path):
        with opened_archive(path) as archive:
            return read_pickle(archive, "data.pkl")
    with path.open("rb") as file:
        return read_legacy(file, plain_size(path), f"'{path}'")


def read_pickle(archive: Archive, name: str, *, strict: bool = True) -> Any:
    """Read a pickle of an archive, with its tensors; not `strict`: objects of other classes become stubs."""
    if archive.entries.get("byteorder") and archive.read("byteorder", limit=10) != b"little":
        raise GanpatchError(f"'{archive.path}' was written on a big-endian machine; save it again on another")
    content = archive.read(name, limit=_LARGEST_PICKLE)
    folder, known = name.removesuffix(".pkl"), dict[str, Tensor]()

    def memory_of(key: str, size: int, _kind: Kind) -> Tensor:
        if key not in known:
            place = f"{folder}/{key}"
            archive.expect(place, size)
            known[key] = torch.empty(size, dtype=torch.uint8)
            archive.read_into(place, known[key].numpy().data)
        return known[key]

    reader = Reader(Bounded(io.BytesIO(content), len(content)), KNOWN, _persistent(memory_of))
    return _loaded(reader, f"'{archive.path}'", strict)


def read_legacy(file: IO[bytes], size: int, where: str) -> Any:
    """Read what torch wrote before version 1.6: five pickles, then the memory of each storage."""
    left, known = size, dict[str, tuple[Tensor, Kind]]()

    def memory_of(key: str, wanted: int, kind: Kind) -> Tensor:
        nonlocal left
        if key not in known:
            left -= wanted
            if left < 0:
                raise EOFError("its tensors are larger than the file")
            known[key] = torch.empty(wanted, dtype=torch.uint8), kind
        return known[key][0]

    def following() -> Any:
        return _loaded(Reader(Bounded(file, size), KNOWN, _persistent(memory_of)), where, strict=True)

    magic, protocol, system = following(), following(), following()
    if magic != _MAGIC or protocol != _PROTOCOL or not isinstance(system, dict) or not system.get("little_endian"):
        raise GanpatchError(f"{where} is not a readable torch checkpoint: it is of no known format")
    content, keys = following(), following()
    with explained(f"{where} is not a readable torch checkpoint, it may be cut short"):
        for key in keys:
            _fill(file, *known.pop(key))
        if known:
            raise EOFError("tensors are missing")
    return content


def _fill(file: IO[bytes], memory: Tensor, kind: Kind) -> None:
    (count,) = struct.unpack("<q", file.read(8))
    view = memory.numpy().data
    if count * kind.dtype.itemsize != len(view) or file.readinto(view) != len(view):  # type: ignore[attr-defined]
        raise EOFError("a tensor is not as long as it should be")


def _loaded(reader: Reader, where: str, strict: bool) -> Any:
    with explained(f"{where} is not a readable torch checkpoint, it may be cut short"):
        try:
            content = reader.load()
        except Exception:
            if not (strict and reader.strange):
                raise
    if strict and reader.strange:
        raise GanpatchError(
            f"{where} is a pickle that wants to run {listed(sorted(reader.strange))}; save its state_dict() instead, "
            "or pass --trust-pickle if you made the file yourself"
        )
    return content


def _persistent(memory_of: Callable[[str, int, Kind], Tensor]) -> Callable[[Any], Any]:
    def given(pid: Any) -> Storage:
        what, kind, key, _device, count, *view = pid
        if what not in ("storage", b"storage") or not isinstance(kind, Kind) or any(part is not None for part in view):
            raise ValueError("it refers to data outside the file")
        if not isinstance(key, str | int) or not isinstance(count, int) or count < 0:
            raise ValueError("a tensor's memory is described wrongly")
        memory = memory_of(str(key), count * kind.dtype.itemsize, kind)
        if len(memory) != count * kind.dtype.itemsize:
            raise ValueError("a tensor's memory has two sizes")
        return Storage(memory=memory, dtype=kind.dtype)

    return given


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_more: Any) -> Tensor:
    return _view(storage, storage.dtype, offset, size, stride, _more[0] if _more else False)


def _tensor_of(storage: Any, offset: Any, size: Any, stride: Any, grad: Any, _hooks: Any, dtype: Any, *_m: Any) -> Any:
    return _view(storage, dtype, offset, size, stride, grad)


def _view(storage: Any, dtype: Any, offset: Any, size: Any, stride: Any, grad: Any) -> Tensor:
    """Return a tensor that is a view of a storage, and no larger than it."""
    if not isinstance(storage, Storage) or not isinstance(dtype, torch.dtype):
        raise ValueError("a tensor is made of something else than memory")
    numbers = (offset, *size, *stride)
    if not all(isinstance(number, int) and 0 <= number < 1 << 60 for number in numbers) or len(size) != len(stride):
        raise ValueError("a tensor's shape is no shape")
    room, count = len(storage.memory) // dtype.itemsize, 1
    for edge in size:
        count *= edge
    last = offset + sum((edge - 1) * step for edge, step in zip(size, stride, strict=True)) if count else 0
    if count > room or last >= max(room, 1):
        raise ValueError(f"a tensor {list(size)} is larger than what is stored of it")
    flat = storage.memory[: room * dtype.itemsize].view(dtype)
    made = flat.as_strided(size, stride, offset)
    return made.requires_grad_() if grad is True and dtype.is_floating_point else made


def _parameter(tensor: Any, grad: Any = True, *_more: Any) -> torch.nn.Parameter:
    if not isinstance(tensor, Tensor):
        raise ValueError("a parameter is made of something else than a tensor")
    return torch.nn.Parameter(tensor, requires_grad=grad is True and tensor.is_floating_point())


def _subclass(make: Any, _kind: Any, args: Any, _state: Any) -> Any:
    """Return a tensor of a subclass, or one with attributes, as a plain tensor."""
    if make not in (_tensor, _tensor_of, _parameter):
        raise ValueError("a tensor of an odd kind")
    return make(*args)


def _size(edges: Any = ()) -> torch.Size:
    return torch.Size(edges)


def _device(*text: Any) -> torch.device:
    return torch.device(*(str(part) for part in text if isinstance(part, str | int)))


def _kinds() -> dict[tuple[str, str], Kind]:
    made = {("torch", name): Kind(dtype=dtype) for dtype, name in torch.storage._dtype_to_storage_type_map().items()}
    return {**made, ("torch.storage", "UntypedStorage"): Kind(dtype=torch.uint8)}


KNOWN = {
    **PLAIN,
    **_kinds(),
    **{("torch", name): kind for name, kind in vars(torch).items() if isinstance(kind, torch.dtype)},
    ("torch", "Size"): _size,
    ("torch", "device"): _device,
    ("torch", "Tensor"): Named(torch.Tensor),
    ("torch.nn.parameter", "Parameter"): Named(torch.nn.Parameter),
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _tensor_of,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _subclass,
}
