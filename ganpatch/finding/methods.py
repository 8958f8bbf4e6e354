"""The methods that find units which draw artifacts, by name.

    suggested = suggest(Task(generator=generator, ranking=ranking), ["first-look", "spike"])

first-look          typicality for units that stand out by it, oddity for the others; the default (docs/finding.md)
typicality          how much more typical its top images become without it; needs no real images
oddity              how odd its top images are
rarity, spike       how it is active: rarely, or far above its typical level
fd                  its top images compared with real images
defect              from images that a person called broken
weights             its weights compared with those of other units; finds what is wrong in every image
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import cast

from torch import Tensor

from ganpatch.errors import GanpatchError, near_miss
from ganpatch.finding import defect, first_look, frechet_distance, oddity, rarity, spike, typicality, weights
from ganpatch.finding.suggestions import Found, MethodFacts, Suggested
from ganpatch.finding.task import Method, Task
from ganpatch.plugins import Group, find_plugin, plugin_names

METHODS: Mapping[str, Method] = {
    module.NAME: cast(Method, module)
    for module in (first_look, typicality, oddity, rarity, spike, frechet_distance, defect, weights)
}
DEFAULT = first_look.NAME
_PLUGINS: Group = "ganpatch.scorers"


def method_named(name: str) -> Method:
    """Return the method `name`, of this room or of a plugin; raise GanpatchError with the nearest match."""
    if name in METHODS:
        return METHODS[name]
    if name in plugin_names(_PLUGINS):
        return cast(Method, find_plugin(_PLUGINS, name)())
    known = [*METHODS, *plugin_names(_PLUGINS)]
    raise GanpatchError(f"method '{name}' is not one of {', '.join(known)}{near_miss(name, known)}")


def suggest(task: Task, methods: Sequence[str] = (DEFAULT,), layers: Sequence[str] = ()) -> dict[str, Suggested]:
    """Score the units of `layers` of a ranking (none given: all) by `methods`; return what each found, by its name.

    Raises GanpatchError for an unknown method or layer before any is scored.
    """
    by_name = {name: method_named(name) for name in methods}
    chosen = tuple(layers) or tuple(task.ranking.layers)
    for layer in chosen:
        _ = task.ranking[layer]
    found: dict[str, Suggested] = {}
    for name, method in by_name.items():
        started = time.monotonic()
        by_layer = {layer: _found(task, method, name, layer) for layer in chosen}
        facts = MethodFacts(
            explains=method.EXPLAINS,
            settings=method.settings(task),
            seconds=round(time.monotonic() - started, 3),
            layers=chosen,
        )
        found[name] = Suggested(facts=facts, layers=by_layer)
    return found


def _found(task: Task, method: Method, name: str, layer: str) -> Found:
    """Return the result of a method in one layer, computed now or kept from a search that failed after it."""

    def find() -> dict[str, Tensor]:
        found = method.find(task, layer)
        return {one.name: tensor for one in fields(Found) if (tensor := getattr(found, one.name)) is not None}

    settings = json.dumps(method.settings(task), sort_keys=True, default=str)
    return Found(**task.kept.several(f"{name}/{layer}/{settings}", find))
