"""What of a session's folder is trusted: it may have come from somebody else.

    refuse_strange_entries(folder)          # links that lead out, pipes, devices
    kept = kept_server(folder)              # the port and token of before, where this user wrote them

Whoever can write into the folder while it is open is not kept out; see SECURITY.md.
"""

import os
import re
import stat
from pathlib import Path
from typing import Any

from ganpatch.disk.atomic_files import plain_size, read_bytes
from ganpatch.disk.json_files import parsed_json
from ganpatch.errors import GanpatchError

SERVER = "server.json"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{32,200}")
_MOST_ENTRIES = 200_000


def refuse_strange_entries(folder: Path) -> None:
    """Raise GanpatchError for what a session never contains: a link that leads out, a pipe, a socket, a device."""
    home, count = folder.resolve(), 0
    for place, folders, files in os.walk(home):
        count += len(folders) + len(files)
        if count > _MOST_ENTRIES:
            raise GanpatchError(f"'{folder}' holds more than {_MOST_ENTRIES:,} files; it is not a studio session")
        for name in [*folders, *files]:
            path = Path(place, name)
            if path.is_symlink() and not path.resolve().is_relative_to(home):
                raise GanpatchError(f"'{path}' is a link that leads out of the session's folder; remove it")
        for name in files:
            path = Path(place, name)
            if path.exists():  # what a link inside leads to may be gone
                plain_size(path)


def belongs_to_another(path: Path) -> bool:
    """Return whether another user owns a file or folder; False where there are no owners."""
    return hasattr(os, "geteuid") and path.lstat().st_uid != os.geteuid()


def kept_server(folder: Path) -> dict[str, Any]:
    """Read the port and the token that a session had; nothing where the file is not private to this user."""
    path = folder / SERVER
    try:
        if not _is_private(path):
            return {}
        kept = parsed_json(read_bytes(path, limit=10_000), f"'{path}'")
    except (GanpatchError, OSError):
        return {}
    token = kept.get("token")
    return kept if isinstance(token, str) and _TOKEN.fullmatch(token) else {}


def _is_private(path: Path) -> bool:
    """Return whether a file is this user's, no link, and closed to all others."""
    mode = path.lstat().st_mode
    closed = os.name != "posix" or not stat.S_IMODE(mode) & 0o077
    return stat.S_ISREG(mode) and closed and not belongs_to_another(path)
