"""What each layer of a generator returns: its class, units, map size and runs per forward pass.

Example:

    facts = list_layers(generator)      # facts[3].name, .units, .size
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

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
