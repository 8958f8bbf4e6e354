"""Read files of `torch.save`, of any version, and plain pickles with tensors, without running what they name.

    found = read_torch(Path("model.pt"))
    found.content                               # dicts, lists, numbers, tensors on the CPU, as they were saved
    found.left_aside                            # objects of other classes that were next to them, by name

torch has two formats: a zip archive with a pickle and one entry per piece of memory, and before 1.6 five pickles in a
row with the memory behind them. A plain pickle holds each tensor as such a row; so does one of NVlabs, whose modules
come with their source code, which is dropped. A tensor is a view of its memory, and refused where it reaches beyond it.
"""

import io
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from ganpatch.disk.atomic_files import plain_size
from ganpatch.errors import GanpatchError, explained, listed
from ganpatch.untrusted.pickle_reader import PLAIN, Bounded, Named, Reader, Stub, runs
from ganpatch.untrusted.plain_content import Plain, reduced
from ganpatch.untrusted.zip_archives import Archive, is_archive, opened_archive

_LARGEST_PICKLE = 1_000_000_000
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_PACKED = ("torch.storage", "_load_from_bytes")
_TENSORFLOW = "dnnlib.tflib.network.Network"


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """A piece of memory [N] uint8, and the dtype of its numbers."""

    memory: Tensor
    dtype: torch.dtype


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A class of storages that a pickle names."""

    dtype: torch.dtype


def read_torch(path: Path) -> Plain:
    """Read a file of torch, or a pickle; raise GanpatchError when it is broken, or names something that runs."""
    where = f"'{path}'"
    if is_archive(path):
        with opened_archive(path) as archive:
            return _reduced(_archived(archive, "data.pkl"), where)
    with path.open("rb") as file:
        return _reduced(_unzipped(file, plain_size(path), where), where)


def read_pickle(archive: Archive, name: str, *, strict: bool = True) -> Any:
    """Read a pickle of an archive, with its tensors; not `strict`: objects of other classes become stubs."""
    read = _archived(archive, name)
    if strict and read.reader.strange:
        raise _refusal(f"'{archive.path}'", read.reader)
    return read.content


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    content: Any
    reader: Reader


def _reduced(read: _Read, where: str) -> Plain:
    if any(runs(name) for name in read.reader.strange):
        raise _refusal(where, read.reader)
    if _TENSORFLOW in read.reader.strange:
        raise GanpatchError(
            f"{where} is a TensorFlow pickle; convert it with legacy.py of NVlabs' stylegan3, and load what that writes"
        )
    with explained(f"{where} is not a readable checkpoint"):
        return reduced(read.content, read.reader.unread)


def _archived(archive: Archive, name: str) -> _Read:
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
    return _Read(content=_loaded(reader, f"'{archive.path}'"), reader=reader)


def _unzipped(file: IO[bytes], size: int, where: str) -> _Read:
    """Read a file that is no archive: what torch wrote before 1.6, or a plain pickle."""
    left = size

    def storage(content: bytes) -> Any:
        nonlocal left
        left -= len(content)
        if left < 0:
            raise EOFError("its tensors are larger than the file")
        return _unzipped(io.BytesIO(content), len(content), "a tensor of the pickle").content

    reader = Reader(Bounded(file, size), {**KNOWN, _PACKED: storage}, _outside)
    content = _loaded(reader, where)
    if isinstance(content, int) and content == _MAGIC:
        return _legacy(file, size, where)
    return _Read(content=content, reader=reader)


def _outside(_pid: Any) -> Any:
    raise ValueError("it refers to data outside the file")


def _legacy(file: IO[bytes], size: int, where: str) -> _Read:
    """Read what follows the first of the five pickles that torch wrote before 1.6, and the memory of each storage."""
    left, known = size, dict[str, tuple[Tensor, Kind]]()

    def memory_of(key: str, wanted: int, kind: Kind) -> Tensor:
        nonlocal left
        if key not in known:
            left -= wanted
            if left < 0:
                raise EOFError("its tensors are larger than the file")
            known[key] = torch.empty(wanted, dtype=torch.uint8), kind
        return known[key][0]

    reader = Reader(Bounded(file, size), KNOWN, _persistent(memory_of))
    protocol, system = _loaded(reader, where), _loaded(reader, where)
    if protocol != _PROTOCOL or not isinstance(system, dict) or not system.get("little_endian"):
        raise GanpatchError(f"{where} is not a readable torch checkpoint: it is of no known format")
    content, keys = _loaded(reader, where), _loaded(reader, where)
    with explained(f"{where} is not a readable torch checkpoint, it may be cut short"):
        for key in keys:
            _fill(file, *known.pop(key))
        if known:
            raise EOFError("tensors are missing")
    return _Read(content=content, reader=reader)


def _fill(file: IO[bytes], memory: Tensor, kind: Kind) -> None:
    (count,) = struct.unpack("<q", file.read(8))
    view = memory.numpy().data
    if count * kind.dtype.itemsize != len(view) or file.readinto(view) != len(view):  # type: ignore[attr-defined]
        raise EOFError("a tensor is not as long as it should be")


def _loaded(reader: Reader, where: str) -> Any:
    with explained(f"{where} is not a readable torch checkpoint, it may be cut short"):
        try:
            return reader.load()
        except Exception:
            if not reader.strange:
                raise
    raise _refusal(where, reader)


def _refusal(where: str, reader: Reader) -> GanpatchError:
    running = sorted(name for name in reader.strange if runs(name))
    named = listed(running or sorted(reader.strange))
    way = "it is not read" if running else "save its state_dict() instead"
    return GanpatchError(f"{where} is a pickle that wants to run {named}; {way}")


def _persistent(memory_of: Callable[[str, int, Kind], Tensor]) -> Callable[[Any], Any]:
    def given(pid: Any) -> Any:
        if pid[0] in ("module", b"module"):  # a class, beside the source code that torch stored with it before 1.6
            return pid[1]
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


class _Items(dict[str, Any]):
    """A dict of NVlabs', which is filled item by item."""

    def __init__(self, *_args: Any) -> None:
        super().__init__()


def _persistent_module(meta: Mapping[str, Any]) -> Stub:
    """Return an object with a class name and a state in place of what would be run; its source code is dropped."""
    made = Stub(meta.get("class_name"))
    made.state = dict(meta.get("state") or {})
    return made


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
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent_module,
    ("dnnlib.util", "EasyDict"): _Items,
    ("dnnlib", "EasyDict"): _Items,
}
