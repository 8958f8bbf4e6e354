"""Seeds -> inputs -> activations and images, in batches.

    for seeds, images in stream(generator, {"layer4": on_activation}, seeds=range(1000)):
        ...                                     # on_activation(y, seeds) was called in between

A layer's activation is handed over inside its hook, while it is in the processor's cache and before an in-place
ReLU behind it can overwrite it; nothing is kept, so memory does not grow with the number of seeds.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from ganpatch.errors import GanpatchError
from ganpatch.generator import Generator
from ganpatch.layers import hooked, layer_names, tensor_of

BATCH = 32

T = TypeVar("T")
OnActivation = Callable[[Tensor, Sequence[int]], None]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFacts:
    """What one layer gives: its class, units, map size (h, w) and runs per forward pass.

    `units` is 0 where the output holds no tensor [N, C, ...]; `size` is () where it is no map.
    """

    name: str
    kind: str
    units: int
    size: tuple[int, ...]
    calls: int


class _Enough(Exception):
    """All watched layers have run: the rest of the forward pass is not needed."""


def unseen(done: int, total: int) -> None:
    """Take progress and show nothing."""


def batched(items: Sequence[T], size: int = BATCH) -> Iterator[Sequence[T]]:
    """Cut seeds, or whatever goes with them, into batches."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def stream(
    generator: Generator,
    watch: Mapping[str, OnActivation],
    seeds: Sequence[int],
    *,
    batch_size: int = BATCH,
    with_images: bool = True,
) -> Iterator[tuple[Sequence[int], Tensor | None]]:
    """Run `seeds` and hand every watched layer's activation [N, C, ...] to its callback.

    Yields per batch the seeds and the images [N, 3, H, W] in [0, 1], or None without `with_images`, where the forward
    pass ends after the last watched layer. A layer that runs several times per pass is handed over each time.
    """
    missing = set(watch)
    current: Sequence[int] = ()

    def watcher(name: str, on_activation: OnActivation) -> Callable[[Any, int], None]:
        def on_output(output: Any, _call: int) -> None:
            on_activation(_activation(name, output), current)
            missing.discard(name)
            if not with_images and not missing:
                raise _Enough

        return on_output

    with hooked(generator.module, {name: watcher(name, callback) for name, callback in watch.items()}):
        for current in batched(seeds, batch_size):
            missing = set(watch)
            images = _forward(generator, current)
            if missing:
                raise GanpatchError(f"layer '{min(missing)}' does not run in a forward pass of {generator.name}")
            yield current, images


def layer_facts(generator: Generator) -> list[LayerFacts]:
    """Run one image and say what every layer gives, in the order in which they first finish."""
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
        args, kwargs = generator.inputs(seeds=[0])
        module(*args, **kwargs)
    return [
        LayerFacts(
            name=name,
            kind=kinds[name],
            units=shape[1] if len(shape) > 1 else 0,
            size=shape[2:],
            calls=calls[name],
        )
        for name, shape in shapes.items()
    ]


def default_layer(facts: Sequence[LayerFacts]) -> LayerFacts:
    """Choose the layer that GAN Dissection looks at first: the last whole block whose maps are nearest to 8x8.

    Of layers at the same size the least nested one wins, then the later one; at least 8 units.
    """
    maps = [fact for fact in facts if len(fact.size) == 2 and fact.units >= 8 and fact.calls == 1]
    if not maps:
        raise GanpatchError("no layer gives maps of at least 8 units; choose one with --layer")

    def distance(fact: LayerFacts) -> float:
        return abs(math.log(fact.size[0] * fact.size[1] / 64))

    nearest = min(distance(fact) for fact in maps)
    best = [fact for fact in maps if distance(fact) == nearest]
    depth = min(fact.name.count(".") for fact in best)
    return [fact for fact in best if fact.name.count(".") == depth][-1]


def _forward(generator: Generator, seeds: Sequence[int]) -> Tensor | None:
    args, kwargs = generator.inputs(seeds)
    try:
        with torch.inference_mode():
            return generator.images(generator.module(*args, **kwargs))
    except _Enough:
        return None


def _activation(name: str, output: Any) -> Tensor:
    tensor = tensor_of(output)
    if tensor is None or tensor.ndim < 2:
        raise GanpatchError(f"layer '{name}' gives a {type(output).__name__} without a tensor [N, C, ...]")
    return tensor
