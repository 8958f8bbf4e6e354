"""Keep other processes out of a folder while this one works in it; the kernel releases a lock when its process ends.

Example:

    with locked(Path("run")):           # GanpatchError naming the process, where another one is at work in there
        …
"""

import datetime
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ganpatch.errors import GanpatchError

LOCK = ".lock"
_MOST = 300
_PATIENCE = 5.0  # seconds; a few files are moved in a thousandth of one


@contextmanager
def locked(folder: Path, name: str = LOCK) -> Iterator[None]:
    """Hold `folder` until the block ends or this process dies; `name` distinguishes locks for different purposes.

    The file `name` says who holds it. It is removed when the block ends; one that a killed process left is ignored.
    Raises GanpatchError when another process holds it, or the folder cannot be written.
    """
    path = folder / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = _acquired(path)
    except OSError as fault:
        raise GanpatchError(f"cannot write '{path}': {str(fault.strerror).lower()}") from fault
    if held is None:
        raise GanpatchError(f"'{folder}' is in use by {_holder(path)}; stop it, wait for it, or choose another folder")
    try:
        with suppress(OSError):  # a full disk: nobody is kept from working by having no name
            os.ftruncate(held, 0)
            os.write(held, _introduction().encode())
        yield
    finally:
        with suppress(OSError):
            path.unlink()  # before the lock goes: who opens the file now makes a new one
        os.close(held)


@contextmanager
def briefly_held(folder: Path) -> Iterator[None]:
    """Hold a folder while files in it are moved; raise GanpatchError when another process holds it for long."""
    handle = None if not hasattr(os, "O_DIRECTORY") else os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        until = time.monotonic() + _PATIENCE
        while handle is not None and hold(handle) is False:
            if time.monotonic() > until:
                raise GanpatchError(f"'{folder}' is in use by another process that moves files in it; try again")
            time.sleep(0.01)
        yield
    finally:
        if handle is not None:
            os.close(handle)


def hold(handle: int) -> bool | None:
    """Lock an open file or folder; False when another handle has it, None where there are no such locks."""
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return None
    return True


def _acquired(path: Path) -> int | None:
    """Open and lock the file, which its last holder may be removing; None when another process has it."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
        if hold(handle) is False:
            os.close(handle)
            return None
        try:
            if os.path.samestat(os.fstat(handle), os.stat(path)):
                return handle
        except FileNotFoundError:
            pass
        os.close(handle)


def _introduction() -> str:
    since = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"process {os.getpid()} on {socket.gethostname()} since {since}"


def _holder(path: Path) -> str:
    try:
        with path.open("rb") as file:
            text = file.read(_MOST).decode(errors="replace")
    except OSError:
        text = ""
    return "".join(letter for letter in text if letter.isprintable()) or "another process"
