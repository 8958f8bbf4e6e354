"""What installed packages add: generators, segmenters and scorers, by name, loaded only when they are asked for.

    find_plugin("ganpatch.generators", "mine")      # whatever `mine = "my_package:factory"` names

A package says so in its pyproject.toml; installing it is how a user agrees to run its code:

    [project.entry-points."ganpatch.generators"]
    mine = "my_package:factory"
"""

from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from ganpatch.errors import GanpatchError, listed, near_miss

Group = Literal["ganpatch.generators", "ganpatch.segmenters", "ganpatch.scorers"]


def plugin_names(group: Group) -> list[str]:
    """Name what is installed for `group`; nothing is imported."""
    return sorted({point.name for point in entry_points(group=group)})


def find_plugin(group: Group, name: str) -> Any:
    """Import and give the plugin `name` of `group`.

    Raises GanpatchError when no package or several offer it, or its import fails.
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
    try:
        return points[0].load()
    except Exception as fault:
        place = f"'{name}' of the package {_package(points[0])} ({points[0].value})"
        raise GanpatchError(f"cannot load {place}: {type(fault).__name__}: {fault}") from fault


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value
