"""The user's own code: `file.py:factory` or `pkg.mod:factory`, called to make a module.

    module = make_model("net.py:Generator", {"nz": 100})

The code can import what it could when Python ran it: the files beside it, and what it puts on `sys.path`. The name may
also be that of a module itself. A factory may return a Built, which also says how its inputs are drawn. Plugins offer
factories by name
(plugins.py). This runs code that the user names on the command line or in ganpatch.toml; a patch file cannot name code.
"""

import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from ganpatch.errors import GanpatchError, near_miss
from ganpatch.families.family import Built
from ganpatch.plugins import find_plugin, plugin_names

_FACTORY = re.compile(r"(?P<place>.+\.py|[A-Za-z_][\w.]*):(?P<name>[A-Za-z_]\w*)")


def is_factory(text: str) -> bool:
    """Return whether `text` has the form `file.py:factory` or `pkg.mod:factory`."""
    return _FACTORY.fullmatch(text) is not None


def make_model(text: str, arguments: Mapping[str, Any]) -> nn.Module | Built:
    """Call the factory, or the plugin of that name, with keyword `arguments`.

    Raises GanpatchError if there is none, it raises, or it returns neither an nn.Module nor a Built.
    """
    made = _called(text, arguments)
    if not isinstance(made, nn.Module | Built):
        raise GanpatchError(f"{text} returned a {type(made).__name__}, not an nn.Module")
    return made


def make_module(text: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Call the user's factory of any module; raise GanpatchError if it raises or returns no nn.Module."""
    module = _called(text, arguments)
    if not isinstance(module, nn.Module):
        raise GanpatchError(f"{text} returned a {type(module).__name__}, not an nn.Module")
    return module


def code_folder(text: str) -> Path | None:
    """Return the folder from which the code of a factory imports first; None if `text` is none."""
    match = _FACTORY.fullmatch(text)
    if match is None:
        return None
    return Path(match["place"]).parent if match["place"].endswith(".py") else Path()


@contextmanager
def importing_from(*folders: Path) -> Iterator[None]:
    """Import from these folders first, as Python does for a script; what the code adds to `sys.path` itself stays."""
    added = list(dict.fromkeys(str(folder.resolve()) for folder in folders))
    sys.path[:0] = added
    try:
        yield
    finally:
        for folder in added:
            with suppress(ValueError):  # the code may have taken it out
                sys.path.remove(folder)


def _factory(text: str) -> Callable[..., Any]:
    match = _FACTORY.fullmatch(text)
    if match is None:
        if not text.isidentifier() and text not in plugin_names("ganpatch.generators"):
            raise GanpatchError(f"'{text}' is not of the form file.py:factory or pkg.mod:factory")
        found = find_plugin("ganpatch.generators", text)
        if not callable(found):
            raise GanpatchError(f"the generator '{text}' of a plugin is not a function")
        return found
    code = _import_file(Path(match["place"])) if match["place"].endswith(".py") else _import_module(match["place"])
    factory = getattr(code, match["name"], None)
    if not callable(factory):
        callables = [name for name, value in vars(code).items() if callable(value) and not name.startswith("_")]
        raise GanpatchError(f"{match['place']} has no factory '{match['name']}'{near_miss(match['name'], callables)}")
    return factory


def _called(text: str, arguments: Mapping[str, Any]) -> Any:
    folder = code_folder(text)
    with importing_from(*([folder] if folder is not None else [])):
        return _made_by(text, _factory(text), arguments)


def _made_by(text: str, factory: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    if isinstance(factory, nn.Module):
        if arguments:
            raise GanpatchError(f"{text} is a {type(factory).__name__}, not a factory: it takes no --arch-arg")
        return factory
    try:
        return factory(**arguments)
    except Exception as fault:
        hint = "; give its arguments with --arch-arg name=value" if isinstance(fault, TypeError) else ""
        raise GanpatchError(f"{text} raised {type(fault).__name__}: {fault}{hint}") from fault


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise GanpatchError(f"'{path}' does not exist")
    name = f"ganpatch_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look up their module there
    try:
        spec.loader.exec_module(module)
    except Exception as fault:
        raise GanpatchError(f"'{path}' raised {type(fault).__name__} on import: {fault}") from fault
    return module


def _import_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as fault:
        raise GanpatchError(f"cannot import '{name}': {type(fault).__name__}: {fault}") from fault
