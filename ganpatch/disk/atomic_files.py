"""Write files so that a reader never sees half of one, and an input is never lost.

    with replacing(Path("out.safetensors")) as temporary:
        save_file(tensors, temporary)      # moved to out.safetensors when the block ends well

Unfinished files are in a private folder beside the destination. It is removed on any error; one that a killed process
left is removed when the next file is written there.
"""

import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

from ganpatch.disk.locks import briefly_held, hold
from ganpatch.errors import GanpatchError

# Libraries that write files themselves report faults of the disk in their own words.
_FAULTS = ("no space left on device", "permission denied", "read-only file system")
_NUMBERED = re.compile(r"os error (\d+)")
_SCRATCH = re.compile(r"\.ganpatch-[0-9a-f]{16}")
_PENDING = "pending"
_MOST_BYTES = 120  # of a name that is made here; file systems take 255


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """Yield a new folder inside `folder` that only this user can enter; it is removed on any exit.

    Folders that killed processes left are removed, too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_abandoned(folder)
    room, held = _room_in(folder)
    try:
        yield room
    finally:
        shutil.rmtree(room, ignore_errors=True)
        _close(held)


@contextmanager
def replacing(path: Path, *, mode: int | None = None) -> Iterator[Path]:
    """Yield a temporary path; move it to `path` at the end, remove it on any error.

    A link at `path` is replaced, not followed. `mode` are the new file's permissions; by default, those of the old one.
    """
    with disk_faults(path):
        _refuse_folder(path)
        with scratch(path.parent) as room:
            temporary = room / path.name
            yield temporary
            _settle(temporary, path, mode)
            temporary.replace(path)


@contextmanager
def replacing_both(path: Path, beside: Path) -> Iterator[tuple[Path, Path]]:
    """Replace a file, and one that belongs to it, in the same folder; that one may be left unwritten.

    After a kill, `path` is the old or the new file, and the one that belongs to it is in `candidates(beside)`.
    """
    with disk_faults(path):
        _refuse_folder(path)
        with scratch(path.parent) as room:
            made, made_beside = room / path.name, room / beside.name
            yield made, made_beside
            _settle(made, path)
            if not made_beside.exists():
                made.replace(path)
                return
            _settle(made_beside, beside)
            with briefly_held(path.parent):
                _move_both(made, path, made_beside, beside)


def candidates(beside: Path) -> list[Path]:
    """Return the files that may belong to `path` of `replacing_both`: `beside`, and what a killed process left."""
    waiting = re.compile(re.escape(beside.name) + rf"\.[0-9a-f]{{8}}\.{_PENDING}")
    names = os.listdir(beside.parent) if beside.parent.is_dir() else []
    return [beside, *sorted(beside.parent / name for name in names if waiting.fullmatch(name))]


@contextmanager
def replacing_together(folder: Path, *order: str, without: Sequence[str] = ()) -> Iterator[Path]:
    """Yield an empty folder for several files; at the end they move into `folder`, those of `order` after all others.

    Nothing changes in `folder` before all of them are written. Then the old file of the last name is removed first, so
    a folder that holds it also holds the files that belong to it. Former files called `without` go, if none is new.
    """
    last = folder / order[-1]
    with disk_faults(last), scratch(folder) as room:
        with _unchanged(last):
            yield room
        made = sorted((path for path in room.rglob("*") if path.is_file()), key=partial(_turn, order))
        for name in (order[-1], *without):
            (folder / name).unlink(missing_ok=True)
        for path in made:
            place = folder / path.relative_to(room)
            place.parent.mkdir(parents=True, exist_ok=True)
            path.replace(place)


@contextmanager
def _unchanged(last: Path) -> Iterator[None]:
    """Add to a GanpatchError that the files which were to be replaced are as they were."""
    try:
        yield
    except Exception as fault:
        reason = _disk_fault(fault)
        if last.exists() and (reason or isinstance(fault, GanpatchError)):
            text = f"cannot write '{last}': {reason}" if reason else str(fault)
            raise GanpatchError(f"{text}; what '{last.parent}' held before is unchanged") from fault
        raise


def _turn(order: Sequence[str], path: Path) -> int:
    return order.index(path.name) if path.name in order else -1


@contextmanager
def enduring(path: Path) -> Iterator[Any]:
    """Yield a file for torch to write; errors of the disk are raised when the block ends.

    Such an error in the middle of an archive would make torch end the process silently.
    """
    with path.open("wb") as file:
        endures = _Enduring(file)
        yield endures
    if endures.fault is not None:
        raise endures.fault


def write_text(path: Path, text: str, *, mode: int | None = None) -> None:
    """Write a UTF-8 text file whole or not at all; raise GanpatchError for a file name in it that is not UTF-8."""
    try:
        content = text.encode()
    except UnicodeEncodeError as fault:
        where = text[max(0, fault.start - 40) : fault.end + 20].split()
        raise GanpatchError(
            f"cannot write '{path}': it would name '{' '.join(where)}', which is not UTF-8; rename that file"
        ) from fault
    write_bytes(path, content, mode=mode)


def write_bytes(path: Path, content: bytes, *, mode: int | None = None) -> None:
    """Write a file whole or not at all."""
    with replacing(path, mode=mode) as temporary:
        temporary.write_bytes(content)


def remove(path: Path) -> None:
    """Remove a file if it exists; raise GanpatchError where the folder cannot be written."""
    with disk_faults(path):
        path.unlink(missing_ok=True)


def read_bytes(path: Path, *, limit: int) -> bytes:
    """Read a file of at most `limit` bytes; raise GanpatchError when it is missing, unreadable or larger."""
    size = plain_size(path)
    if size > limit:
        raise GanpatchError(f"'{path}': {size:,} bytes, more than the {limit:,} that such a file may have")
    try:
        with path.open("rb") as file:
            return file.read(limit)
    except OSError as fault:
        raise GanpatchError(f"cannot read '{path}': {_disk_fault(fault) or fault}") from fault


def plain_size(path: Path) -> int:
    """Return a file's size in bytes; raise GanpatchError when it is missing, or a folder, pipe, socket or device."""
    try:
        facts = path.stat()
    except (OSError, ValueError) as fault:
        raise GanpatchError(f"cannot read '{path}': {_disk_fault(fault) or fault}") from fault
    if not stat.S_ISREG(facts.st_mode):
        what = "a folder" if stat.S_ISDIR(facts.st_mode) else "a pipe, socket or device"
        raise GanpatchError(f"cannot read '{path}': it is {what}, not a file")
    return facts.st_size


def refuse_same_file(output: Path, *inputs: Path) -> None:
    """Raise GanpatchError when `output` is one of the inputs, also through a link."""
    for source in inputs:
        if output.exists() and source.exists() and output.samefile(source):
            raise GanpatchError(f"'{output}' is an input; an input is never overwritten: choose another -o")


def refuse_other_names(path: Path) -> None:
    """Raise GanpatchError for a path that is not UTF-8: safetensors, onnx and onnxruntime open no such file."""
    try:
        str(path).encode()
    except UnicodeEncodeError as fault:
        raise GanpatchError(f"'{path}': its name must be UTF-8, and those of its folders; rename it") from fault


def file_name(text: str) -> str:
    """Return a name for a file or folder, made from the name of a model or layer."""
    name = re.sub(r"[^\w.-]+", "-", text).lstrip(".-") or "model"
    if len(name.encode()) <= _MOST_BYTES:
        return name
    digest = hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:8]
    return f"{name.encode()[: _MOST_BYTES - 9].decode(errors='ignore')}-{digest}"


@contextmanager
def disk_faults(path: Path) -> Iterator[None]:
    """Raise GanpatchError, which says that `path` cannot be written, for an error of the disk."""
    try:
        yield
    except Exception as fault:
        reason = _disk_fault(fault)
        if reason is None:
            raise
        place = Path(*(part for part in path.parts if not _SCRATCH.fullmatch(part)))
        raise GanpatchError(f"cannot write '{place}': {reason}") from fault


class _Enduring:
    """A file that accepts all writes, and keeps the first error of the disk for later."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.fault: OSError | None = None

    def write(self, content: Any) -> int:
        """Write, unless a write has failed before."""
        if self.fault is None:
            try:
                self._file.write(content)
            except OSError as fault:
                self.fault = fault
        return memoryview(content).nbytes

    def flush(self) -> None:
        """Do nothing: the file is flushed when it is closed."""


def _move_both(made: Path, path: Path, made_beside: Path, beside: Path) -> None:
    """Put `beside` where it waits for `path`, then both in their places; one that waited before is removed."""
    former = candidates(beside)
    pending = beside.with_name(f"{beside.name}.{secrets.token_hex(4)}.{_PENDING}")
    made_beside.replace(pending)
    try:
        made.replace(path)
    finally:
        if made.exists():
            pending.unlink()
    pending.replace(beside)
    for old in former[1:]:
        old.unlink(missing_ok=True)


def _refuse_folder(path: Path) -> None:
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder")


def _room_in(folder: Path) -> tuple[Path, int | None]:
    """Make a folder and lock it; another process that cleans up may remove it before it is locked."""
    while True:
        room = folder / f".ganpatch-{secrets.token_hex(8)}"
        room.mkdir(mode=0o700)
        try:
            held = _opened(room)
        except FileNotFoundError:
            continue
        if held is None or (hold(held) is not False and room.exists()):
            return room, held
        _close(held)


def remove_abandoned(folder: Path) -> None:
    """Remove what killed processes left in `folder`."""
    for entry in os.scandir(folder):
        if _SCRATCH.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
            try:
                held = _opened(Path(entry.path))
            except OSError:
                continue
            if held is not None and hold(held) is True:
                shutil.rmtree(entry.path, ignore_errors=True)
            _close(held)


def _opened(room: Path) -> int | None:
    """Open a folder, so that it can be locked; None on systems where folders cannot be opened."""
    if not hasattr(os, "O_DIRECTORY"):
        return None
    return os.open(room, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)


def _close(held: int | None) -> None:
    if held is not None:
        os.close(held)


def _settle(made: Path, path: Path, mode: int | None = None) -> None:
    """Flush what was written to the disk, with the permissions of the file at `path`, or those of a new one."""
    with made.open("rb+") as written:
        os.fsync(written.fileno())
    if mode is None:
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o666 & ~_umask()
    made.chmod(mode)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _disk_fault(fault: Exception) -> str | None:
    """Return an error of the disk in words; None for any other error."""
    if isinstance(fault, GanpatchError):
        return None
    if isinstance(fault, OSError) and fault.strerror:
        return fault.strerror.lower()
    if found := _NUMBERED.search(str(fault)):
        return os.strerror(int(found[1])).lower()
    return next((phrase for phrase in _FAULTS if phrase in str(fault).lower()), None)
