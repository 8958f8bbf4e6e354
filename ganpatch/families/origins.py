"""Which model a run was made with, and how that was loaded: `origin.json` in the run folder.

    write_origin(folder, generator.origin)
    origin = read_origin(folder)            # None where there is none
    generator = load(origin.model, …)

Paths in it are relative to the folder. Where loading runs code (`--arch`, `--repo`, `--trust-pickle`, code as the
model), it is done only if this user wrote the file on this machine: a run folder from somebody else runs nothing.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic_core import PydanticSerializationError

from ganpatch.disk.atomic_files import write_text
from ganpatch.disk.json_files import Section, read_section
from ganpatch.disk.seals import is_sealed, sealed
from ganpatch.errors import GanpatchError
from ganpatch.families.user_code import is_factory
from ganpatch.generator.load_options import LoadOptions, Origin
from ganpatch.plugins import plugin_names

ORIGIN = "origin.json"
_LARGEST = 1_000_000


class _File(Section):
    format: Literal["ganpatch-origin/1"] = "ganpatch-origin/1"
    model: str
    options: LoadOptions
    seal: str = ""


def write_origin(folder: Path, origin: Origin | None, *, into: Path | None = None) -> None:
    """Write what the run in `folder` was made with, into that folder or `into` one that moves there.

    Nothing is written for a module that a Python user made, nor where a file cannot hold what `load` was given.
    """
    if origin is None:
        return
    try:
        seal, options = sealed(_text(origin)), _options(origin.options, folder, _moved)
        found = _File(model=_moved(origin.model, folder), options=options, seal=seal)
        text = found.model_dump_json(indent=1)
    except PydanticSerializationError:
        return  # objects of a Python user, or a path that is not UTF-8
    write_text((into or folder) / ORIGIN, text + "\n")


def read_origin(folder: Path) -> Origin | None:
    """Return what a run was made with; None where the folder does not say.

    Raises GanpatchError when loading it would run code, and this user did not write the folder, here.
    """
    path = folder / ORIGIN
    if not path.is_file():
        return None
    found = read_section(path, _File, limit=_LARGEST)
    origin = Origin(model=_found(found.model, folder), options=_options(found.options, folder, _found))
    code = _code(origin)
    if code is not None and not is_sealed(_text(origin), found.seal):
        raise GanpatchError(
            f"'{path}' names code ({code}) and was not written by you at this place; "
            "name the model yourself, with --arch and the other options"
        )
    return origin


def _code(origin: Origin) -> str | None:
    """Return which code would run, or None; installed plugins are no stranger's."""
    options = origin.options
    if options.arch and options.arch not in plugin_names("ganpatch.generators"):
        return options.arch
    if options.repo is not None:
        return str(options.repo)
    return origin.model if options.trust_pickle or is_factory(origin.model) else None


def _text(origin: Origin) -> str:
    """Return what is sealed: the model and its options at their absolute places."""
    absolute = _options(origin.options, Path(), lambda text, _folder: _with_place(text, os.path.abspath))
    return f"{_with_place(origin.model, os.path.abspath)}\n{absolute.model_dump_json()}"


def _options(options: LoadOptions, folder: Path, move: Callable[[str, Path], str]) -> LoadOptions:
    """Return the options with `move` applied to those that are paths."""
    paths = {name: getattr(options, name) for name in ("arch", "inputs", "repo")}
    return options.with_(**{name: move(str(path), folder) for name, path in paths.items() if path is not None})


def _moved(text: str, folder: Path) -> str:
    """Return a path as seen from `folder`, beginning with a dot; a name of something else stays as it is."""

    def seen(place: str) -> str:
        path = os.path.relpath(place, folder)
        return path if path.startswith(os.pardir) else os.path.join(os.curdir, path)

    return _with_place(text, seen)


def _found(text: str, folder: Path) -> str:
    """Return a path that `_moved` wrote as seen from the working folder."""
    if not text.startswith(os.curdir):
        return text
    place, colon, name = text.partition(":")
    return f"{os.path.relpath(folder / place)}{colon}{name}"


def _with_place(text: str, move: Callable[[str], str]) -> str:
    """Apply `move` to the path in `model.pt` or `net.py:factory`, if there is such a file."""
    place, colon, name = text.partition(":") if is_factory(text) else (text, "", "")
    return f"{move(place)}{colon}{name}" if os.path.exists(place) else text
