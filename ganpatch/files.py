"""Writing files so that a reader never sees half of one, and an input is never lost.

with replacing(Path("out.safetensors")) as temporary:
    save_file(tensors, temporary)      # renamed to out.safetensors when the block ends well
"""

import errno
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ganpatch.errors import GanpatchError

# Libraries that write files themselves report a full disk in their own words.
_FULL_DISK = ("No space left", "os error 28")
_DENIED = ("Permission denied", "os error 13", "Read-only file system", "os error 30")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; move it to `path` at the end, remove it on any error."""
    temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}.tmp"
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.chmod(path.stat().st_mode if path.exists() else 0o666 & ~_umask())
        temporary.replace(path)
    except Exception as fault:
        reason = _disk_fault(fault)
        if reason is None:
            raise
        raise GanpatchError(f"cannot write '{path}': {reason}") from fault
    finally:
        temporary.unlink(missing_ok=True) if temporary.parent.is_dir() else None


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def read_bytes(path: Path, *, limit: int) -> bytes:
    """Read a file of at most `limit` bytes; raise GanpatchError when it is missing, unreadable or larger."""
    try:
        size = path.stat().st_size
        if size > limit:
            raise GanpatchError(f"'{path}': {size:,} bytes, more than the {limit:,} that such a file may have")
        return path.read_bytes()
    except OSError as fault:
        raise GanpatchError(f"cannot read '{path}': {_disk_fault(fault) or fault}") from fault


def refuse_same_file(output: Path, *inputs: Path) -> None:
    """Raise GanpatchError when `output` is one of the inputs, also through a link."""
    for source in inputs:
        if output.exists() and source.exists() and output.samefile(source):
            raise GanpatchError(f"'{output}' is an input; an input is never overwritten: choose another -o")


def file_name(text: str) -> str:
    """Make a name for a file or folder of whatever a model or layer is called."""
    return re.sub(r"[^\w.-]+", "-", text)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _disk_fault(fault: Exception) -> str | None:
    """Put a fault of the disk in words; None for any other fault."""
    if isinstance(fault, OSError) and fault.strerror:
        return fault.strerror.lower()
    text = str(fault)
    if any(phrase in text for phrase in _FULL_DISK):
        return "no space left on device"
    if any(phrase in text for phrase in _DENIED):
        return "permission denied"
    return None
