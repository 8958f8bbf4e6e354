"""What each layer of a generator returns: its class, units, map size and runs per forward pass; the default layer.

Example:

    facts = list_layers(generator)
    layer = default_layer(facts).name
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ganpatch.errors import GanpatchError
from ganpatch.generator.generator import Generator
from ganpatch.generator.layers import hooked, layer_names, tensor_of, unwrapped
from ganpatch.generator.unit_axes import returns_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFacts:
    """What one layer returns: its class, units, map size (h, w) and runs per forward pass.

    `units` is 0 if the output has no tensor [N, C, ...]; `size` is () if it is not a map. Of `tokens` [T, C], neither
    is known.
    """

    name: str
    kind: str
    units: int
    size: tuple[int, ...]
    calls: int
    tokens: tuple[int, ...] = ()


def list_layers(generator: Generator) -> list[LayerFacts]:
    """Run one image and return what every layer returns, in the order in which layers first finish."""
    module = generator.module
    kinds = {name: type(layer).__name__ for name, layer in module.named_modules()}
    shapes: dict[str, tuple[int, ...]] = {}
    calls: dict[str, int] = {}

    def on_output(name: str, output: Any, call: int) -> None:
        tensor = tensor_of(output)
        shapes.setdefault(name, tuple(tensor.shape) if tensor is not None else ())
        calls[name] = call + 1

    def hook_of(name: str) -> Callable[[Any, int], None]:
        return lambda output, call: on_output(name, output, call)

    with hooked(module, {name: hook_of(name) for name in layer_names(module)}), torch.inference_mode():
        module(*generator.inputs_of([0]))
    found = []
    for name, shape in shapes.items():
        tokens = shape[1:] if returns_tokens(unwrapped(module), name, shape) else ()
        units = shape[1] if len(shape) > 1 and not tokens else 0
        size = () if tokens else shape[2:]
        found.append(LayerFacts(name=name, kind=kinds[name], units=units, size=size, calls=calls[name], tokens=tokens))
    return found


def default_layer(facts: Sequence[LayerFacts]) -> LayerFacts:
    """Return the layer that GAN Dissection looks at first: the last whole block whose maps are nearest to 8x8.

    Of layers at the same size the least nested one wins, then the later one; at least 8 units.
    """
    maps = [fact for fact in facts if len(fact.size) == 2 and fact.units >= 8 and fact.calls == 1]
    if not maps:
        raise GanpatchError("no layer outputs maps of at least 8 units; choose one with --layer")

    def distance(fact: LayerFacts) -> float:
        return abs(math.log(fact.size[0] * fact.size[1] / 64))

    nearest = min(distance(fact) for fact in maps)
    best = [fact for fact in maps if distance(fact) == nearest]
    depth = min(fact.name.count(".") for fact in best)
    return [fact for fact in best if fact.name.count(".") == depth][-1]
