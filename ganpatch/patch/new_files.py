"""Patch files that commands make: none is replaced unasked.

Example:

    refuse_taken(path, overwrite=False)     # before the work begins
    save_new_patch(patch, path)
"""

import re
from pathlib import Path

from ganpatch.errors import GanpatchError
from ganpatch.patch.patch_file import MOST_LETTERS, Patch


def name_from(path: Path) -> str:
    """Return a name for the patch in a file: the file's name, other characters than a name may have as dashes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("._-")[:MOST_LETTERS] or "patch"


def refuse_taken(path: Path, *, overwrite: bool = False) -> None:
    """Raise GanpatchError when `path` is no name for a patch, or exists and may not be replaced."""
    if path.suffix.lower() not in (".yaml", ".yml"):
        raise GanpatchError(f"'{path}': a patch ends in .yaml")
    if path.exists() and not overwrite:
        raise GanpatchError(f"'{path}' exists; choose another -o, or --overwrite")


def save_new_patch(patch: Patch, path: Path, *, overwrite: bool = False) -> None:
    """Write a patch file; raise GanpatchError when the file exists and may not be replaced."""
    refuse_taken(path, overwrite=overwrite)
    patch.save(path)
