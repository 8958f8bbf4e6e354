"""What Tab offers: words, files of the right kind, and the names that a folder on the line holds.

A folder may be a stranger's, and a shell puts what is offered on the command line as it is. So a name from a file is
offered only if it consists of letters, digits and marks that mean nothing to a shell; files are read to a bound; and
whatever is wrong with them means that nothing is offered. Nothing here is evaluated, and nothing is printed.
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from ganpatch.disk.atomic_files import read_bytes
from ganpatch.errors import GanpatchError
from ganpatch.option_values import (
    FEATURES,
    GENERATORS,
    METHODS,
    PATCH_SUFFIXES,
    SEGMENTERS,
    SETS,
    WEIGHTS_SUFFIXES,
)
from ganpatch.plugins import Group, plugin_names

Items = list[CompletionItem]
Complete = Callable[[click.Context, click.Parameter, str], Items]

VARIABLE = "_GANPATCH_COMPLETE"  # by which click's script asks for words
_SAFE = re.compile(r"[\w./][\w./:@%+,-]{0,199}")  # no quotes, spaces, $, *, ~ or leading dash
_LARGEST, _MOST = 2_000_000, 1000  # bytes of a file, entries of a folder or a list
_LAYERS = ("manifest.json", "dissection.json", "causes.json")
_FOLDERS = ("run", "runs", "folder", "model_and_runs")  # the parameters that name folders


class PathOf(click.Path):
    """A path whose completion offers files that end in one of `suffixes`, or folders."""

    def __init__(self, *suffixes: str, exists: bool = False, folder: bool = False) -> None:
        super().__init__(exists=exists, path_type=Path)
        self._suffixes, self._folder = suffixes, folder

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> Items:  # noqa: ARG002
        """Return the paths that begin with `incomplete`."""
        if self._folder:
            return [CompletionItem(incomplete, type="dir")]
        return _files(incomplete, self._suffixes)


def models(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> Items:
    """Offer bundled and installed generators, and files of weights."""
    return _words_or_files([*GENERATORS, *_installed("ganpatch.generators")], WEIGHTS_SUFFIXES, incomplete)


def models_and_patches(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> Items:
    """Offer generators, files of weights, and patches."""
    names = [*GENERATORS, *_installed("ganpatch.generators")]
    return _words_or_files(names, (*WEIGHTS_SUFFIXES, *PATCH_SUFFIXES), incomplete)


def segmenters(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> Items:
    """Offer kinds of segmenters, and files of code."""
    return _words_or_files([*SEGMENTERS, *_installed("ganpatch.segmenters")], (".py",), incomplete)


def features(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> Items:
    """Offer kinds of features, and files of code."""
    return _words_or_files(FEATURES, (".py",), incomplete)


def methods(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> Items:
    """Offer the methods of `ganpatch suggest`."""
    return _beginning([*METHODS, SETS, *_installed("ganpatch.scorers")], incomplete)


def suggested(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Offer the methods and sets that were suggested for the run on the line, else all methods."""
    indices = [_read(folder / "suggestions.json") for folder in _folders(context)]
    found = [name for index in indices for name in [*_names(index.get("methods")), *_set_names(index.get("sets"))]]
    return _beginning(found, incomplete) if found else methods(context, parameter, incomplete)


def layers(context: click.Context, _parameter: click.Parameter, incomplete: str) -> Items:
    """Offer the layers of the runs that the line names, or those that `ganpatch.toml` ranks."""
    found = [name for folder in _folders(context) for file in _LAYERS for name in _layers_in(_read(folder / file))]
    return _beginning(found or _layers_of_settings(), incomplete)


def concepts(context: click.Context, _parameter: click.Parameter, incomplete: str) -> Items:
    """Offer the concepts of the causes and dissections that the line names."""
    files = [_read(folder / file) for folder in _folders(context) for file in _LAYERS]
    return _beginning([name for content in files for name in _names(content.get("concepts"))], incomplete)


def _words_or_files(words: Sequence[str], suffixes: Sequence[str], incomplete: str) -> Items:
    """Offer the words that begin so; a shell completes files only where there are none."""
    found = _beginning(words, incomplete) if incomplete else []
    return found or _files(incomplete, suffixes)


def _beginning(names: Iterable[str], incomplete: str) -> Items:
    """Return the names that begin with `incomplete` and are safe on a command line, each once."""
    safe = dict.fromkeys(name for name in names if name.startswith(incomplete) and is_safe(name))
    return [CompletionItem(name) for name in islice(safe, _MOST)]


def is_safe(name: str) -> bool:
    """Return whether a shell takes `name` as it is: nothing in it is expanded, and no control character printed."""
    return bool(_SAFE.fullmatch(name)) and name.isprintable()


def _files(incomplete: str, suffixes: Sequence[str]) -> Items:
    """Offer files by their suffix; where folders or unusual names could be meant, let the shell complete files."""
    folder, begun = os.path.split(incomplete)
    found = [entry for entry in _entries(folder or ".") if entry.name.startswith(begun)]
    fitting = [entry for entry in found if entry.name.endswith(tuple(suffixes)) or _is_folder(entry)]
    paths = [os.path.join(folder, entry.name) for entry in fitting]
    if not suffixes or not paths or not all(map(is_safe, paths)) or any(map(_is_folder, fitting)):
        return [CompletionItem(incomplete, type="file")]
    return [CompletionItem(path) for path in sorted(paths)]


def _entries(folder: str) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in islice(entries, _MOST) if not entry.name.startswith(".")]
    except OSError:
        return []


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _installed(group: Group) -> list[str]:
    return plugin_names(group)


def _folders(context: click.Context) -> Iterator[Path]:
    """Yield the paths on the line that may be folders; click leaves some in `args`, before Tab's word."""
    values = [context.params.get(name) for name in _FOLDERS]
    for value in [*values, context.args]:
        yield from (Path(one) for one in (value if isinstance(value, tuple | list) else [value]) if one)


def _read(path: Path) -> dict[str, Any]:
    """Return the object that a small JSON file holds; nothing where there is no such file."""
    try:
        found = json.loads(read_bytes(path, limit=_LARGEST))
    except (GanpatchError, OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _layers_in(content: dict[str, Any]) -> list[str]:
    return [*_names(content.get("layers")), *_names([content.get("layer")])]


def _names(content: Any) -> list[str]:
    """Return the texts of a list, or the keys of an object."""
    return [name for name in content if isinstance(name, str)] if isinstance(content, list | dict) else []


def _set_names(content: Any) -> list[str]:
    """Return the names of suggested sets."""
    sets = content if isinstance(content, list) else []
    return _names([one.get("name") for one in sets if isinstance(one, dict)])


def _layers_of_settings() -> Sequence[str]:
    from ganpatch.generator.configuration import read_settings

    try:
        return read_settings(Path()).rank.layers
    except GanpatchError:
        return ()
