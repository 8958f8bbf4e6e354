"""Scripts and styles of the pages: modules that a server returns, or one script for a page that is read from disk.

Example:

    asset("theme.css")                       # the text of a file that several pages share
    inlined("page.js", own=OWN)              # a module and all that it imports, as one script without modules

Browsers load no modules from disk. `inlined` puts each module into a function of its own, after those that it imports,
so that their names do not meet.
"""

import json
import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

SHARED = files("ganpatch.pages").joinpath("static")
_IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./([a-z_]+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:const|class|function|async function) ([A-Za-z_$][\w$]*))", re.MULTILINE)
_LEFT = re.compile(r"^(?:import|export)\b.*$", re.MULTILINE)


def asset(name: str, own: Traversable | None = None) -> str:
    """Return the text of a file in the folder `own`, or else of a shared one."""
    return _place(name, own).read_text(encoding="utf-8")


def inlined(entry: str, own: Traversable) -> str:
    """Return a module and those that it imports, from the folder `own` and the shared ones, as one classic script."""
    parts: dict[str, str] = {}
    _collect(entry.removesuffix(".js"), own, parts, ())
    return '"use strict";\n' + "\n".join(parts.values())


def script_json(content: Any) -> str:
    """Write JSON that may be inside a <script> element, whatever its strings contain."""
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e")


def _collect(name: str, own: Traversable, parts: dict[str, str], above: tuple[str, ...]) -> None:
    assert name not in above, f"modules import each other: {' -> '.join((*above, name))}"
    if name in parts:
        return
    text = asset(f"{name}.js", own)
    for _, imported in _IMPORT.findall(text):
        _collect(imported, own, parts, (*above, name))
    parts[name] = _as_function(name, text)


def _as_function(name: str, text: str) -> str:
    """Wrap a module: its imports become constants, its exports the properties of what it returns."""
    exported = ", ".join(_EXPORT.findall(text))
    body = _EXPORT.sub("", _IMPORT.sub(lambda found: f"const {_renamed(found[1])} = module_{found[2]};\n", text))
    left = _LEFT.findall(body)
    assert not left, f"{name}.js: only whole-line imports of names and exported declarations can be inlined: {left}"
    return f"const module_{name} = (() => {{\n{body}return {{ {exported} }};\n}})();\n"


def _renamed(names: str) -> str:
    return re.sub(r" as ", ": ", names)


def _place(name: str, own: Traversable | None) -> Traversable:
    mine = own.joinpath(name) if own else None
    return mine if mine is not None and mine.is_file() else SHARED.joinpath(name)
