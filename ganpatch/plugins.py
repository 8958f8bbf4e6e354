"""Plug-ins: generators, segmenters and scorers that installed packages add, each imported only when asked for by name.

    find_plugin("ganpatch.generators", "mine")      # the object that `mine = "my_package:factory"` names

A package declares them in its pyproject.toml. By installing it, a user agrees to run its code:

    [project.entry-points."ganpatch.generators"]
    mine = "my_package:factory"
"""

import sys
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any, Literal

from ganpatch.errors import GanpatchError, listed, near_miss

Group = Literal["ganpatch.generators", "ganpatch.segmenters", "ganpatch.scorers"]

# Modules from which older packages import public names. Each still offers what `ganpatch` itself does.
FORMER_MODULES = ("ganpatch.find", "ganpatch.find.task", "ganpatch.inputs", "ganpatch.segment", "ganpatch.suggestions")


def plugin_names(group: Group) -> list[str]:
    """Return the names of the plug-ins installed for `group`, sorted; none is imported."""
    return sorted({point.name for point in entry_points(group=group)})


def find_plugin(group: Group, name: str) -> Any:
    """Import and return the plug-in `name` of `group`.

    Raises GanpatchError when no package offers it, several do, or its import fails.
    """
    points = list(entry_points(group=group, name=name))
    if not points:
        names = plugin_names(group)
        has = f"installed packages offer {listed(names)}" if names else "no installed package offers any"
        what = group.removeprefix("ganpatch.").removesuffix("s")
        raise GanpatchError(f"no {what} '{name}': {has}{near_miss(name, names)}")
    if len({point.value for point in points}) > 1:
        owners = sorted(_package(point) for point in points)
        raise GanpatchError(f"'{name}' of {group} is offered by several packages: {listed(owners)}; remove all but one")
    _offer_former_modules()
    try:
        return points[0].load()
    except Exception as fault:
        place = f"'{name}' of the package {_package(points[0])} ({points[0].value})"
        raise GanpatchError(f"cannot load {place}: {type(fault).__name__}: {fault}") from fault


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value


def _offer_former_modules() -> None:
    for name in FORMER_MODULES:
        module = ModuleType(name, "A former place of public names; import them from ganpatch.")
        vars(module)["__getattr__"] = _public_name
        sys.modules.setdefault(name, module)


def _public_name(name: str) -> Any:
    public = sys.modules["ganpatch"]
    if name not in public.__all__:
        raise AttributeError(f"'{name}' is not a public name of ganpatch")
    return getattr(public, name)
