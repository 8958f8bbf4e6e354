"""Zip archives of torch, from untrusted sources: checked before anything in them is read.

    with opened_archive(Path("model.pt")) as archive:
        archive.entries["data.pkl"].file_size
        archive.read("data.pkl", limit=64_000_000)

An archive is refused if two readers could read it differently, if its entries overlap, or if they unpack to far more
than the file holds.
"""

import io
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ganpatch.disk.atomic_files import plain_size
from ganpatch.errors import GanpatchError, explained

_ZIP = b"PK\x03\x04"
_END, _END64, _LOCATOR = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_UNPACKED = 64_000_000  # bytes that a small archive may unpack to
_MOST_TIMES = 8  # and how many times its own size a large one
_MOST_ENTRIES = 1_000_000
_LONGEST_END = 98  # bytes behind the directory
_HEAD = 30  # bytes of an entry's head without its name


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """An open archive: the one folder in it, and the entries by their names in that folder."""

    path: Path
    folder: str
    entries: dict[str, zipfile.ZipInfo]
    file: zipfile.ZipFile

    def read(self, name: str, *, limit: int) -> bytes:
        """Read an entry; raise GanpatchError when it is missing, broken or longer than `limit`."""
        if name not in self.entries:
            raise GanpatchError(f"'{self.path}' is broken: it has no {name}")
        if self.entries[name].file_size > limit:
            raise GanpatchError(f"'{self.path}' is broken: {name} is too large")
        with explained(f"'{self.path}' is broken: {name}"):
            return self.file.read(self.entries[name])

    def expect(self, name: str, size: int) -> zipfile.ZipInfo:
        """Return an entry of this length; raise GanpatchError when it has another."""
        entry = self.entries.get(name)
        if entry is None or entry.file_size != size:
            found = "missing" if entry is None else f"{entry.file_size:,} bytes"
            raise GanpatchError(f"'{self.path}' is broken: {name[:60]} is {found}, and should be {size:,} bytes")
        return entry

    def read_into(self, name: str, memory: memoryview) -> None:
        """Read an entry of the length of `memory`."""
        entry = self.expect(name, len(memory))
        with explained(f"'{self.path}' is broken: {name}"), self.file.open(entry) as source:
            done = 0
            while done < len(memory):
                part = source.read(min(1 << 24, len(memory) - done))
                if not part:
                    raise EOFError("it is cut short")
                memory[done : done + len(part)] = part
                done += len(part)


def is_archive(path: Path) -> bool:
    """Return whether a file is a zip archive, by its first bytes."""
    plain_size(path)
    with explained(f"cannot read '{path}'"), path.open("rb") as file:
        return file.read(len(_ZIP)) == _ZIP


@contextmanager
def opened_archive(path: Path, content: bytes | None = None) -> Iterator[Archive]:
    """Open an archive, or one that is the `content` of an entry; raise GanpatchError when it is inconsistent."""
    size = plain_size(path) if content is None else len(content)
    with explained(f"cannot read '{path}'"):
        source = path.open("rb") if content is None else io.BytesIO(content)
    with source:
        with explained(f"'{path}' is not a whole archive, it may be cut short"):
            file = zipfile.ZipFile(source)
            entries = file.infolist()
            source.seek(max(0, size - _LONGEST_END))
            tail = source.read()
        _check_end(path, tail, size)
        _check_entries(path, entries, size)
        folder = entries[0].filename.partition("/")[0] if entries else ""
        yield Archive(
            path=path,
            folder=folder,
            entries={entry.filename[len(folder) + 1 :]: entry for entry in entries},
            file=file,
        )


def _check_end(path: Path, tail: bytes, size: int) -> None:
    """Refuse anything before, between or after the parts of the archive: readers differ in how they treat it."""
    end, locator, end64 = tail[-22:], tail[-42:-22], tail[-98:-42]
    strange = GanpatchError(f"'{path}' is broken: its directory is not where it should be")
    if len(end) < 22 or not end.startswith(_END) or end[-2:] != b"\0\0":
        raise strange
    length, start = struct.unpack("<II", end[12:20])
    behind = size - 22
    if locator.startswith(_LOCATOR):
        behind = size - _LONGEST_END
        if not end64.startswith(_END64) or struct.unpack("<Q", locator[8:16])[0] != behind:
            raise strange
        whole_length, whole_start = struct.unpack("<QQ", end64[40:56])
        if (length, start) not in ((whole_length, whole_start), (0xFFFFFFFF, 0xFFFFFFFF)):
            raise strange
        length, start = whole_length, whole_start
    if start + length != behind:
        raise strange


def _check_entries(path: Path, entries: list[zipfile.ZipInfo], size: int) -> None:
    folders = {entry.filename.partition("/")[0] for entry in entries}
    names = [entry.filename for entry in entries]
    behind = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        if entry.header_offset < behind or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise GanpatchError(f"'{path}' is broken: {_shown(entry.filename)} overlaps another entry, or is malformed")
        behind = entry.header_offset + _HEAD + len(entry.filename.encode()) + entry.compress_size
        if entry.flag_bits & 1:
            raise GanpatchError(f"'{path}' is encrypted")
        parts = entry.filename.split("/")
        if ".." in parts or "\\" in entry.filename or len(parts) < 2 or not parts[0]:
            raise GanpatchError(f"'{path}' is broken: {_shown(entry.filename)} is not a name that torch writes")
    if len(set(names)) < len(names) or len(folders) > 1 or len(entries) > _MOST_ENTRIES or behind > size:
        raise GanpatchError(f"'{path}' is broken: its directory does not fit its entries")
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > _UNPACKED + _MOST_TIMES * size:
        raise GanpatchError(f"'{path}' holds {size:,} bytes and says that it unpacks to {unpacked:,}")


def _shown(name: str) -> str:
    return repr(name[:60])
