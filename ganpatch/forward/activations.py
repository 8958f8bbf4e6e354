"""Seeds -> inputs -> activations and images, in batches.

    for seeds, images in stream(generator, {"layer4": on_activation}, seeds=range(1000)):
        ...                                     # on_activation(y, seeds) was called in between

A layer's activation is handed over inside its hook, while it is in the processor's cache and before an in-place
ReLU after it can overwrite it; nothing is kept, so memory does not grow with the number of seeds.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from ganpatch.errors import GanpatchError
from ganpatch.generator.generator import Generator, Inputs
from ganpatch.generator.layers import Enough, hooked, layer_names, tensor_of, unwrapped
from ganpatch.generator.unit_axes import refuse_tokens, returns_tokens

BATCH = 32

T = TypeVar("T")
OnActivation = Callable[[Tensor, Sequence[int]], None]
Progress = Callable[[int, int], None]
_Run = Callable[[Sequence[int]], tuple[Tensor | None, set[str]]]


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


def unseen(done: int, total: int) -> None:
    """Ignore progress."""


def batched(items: Sequence[T], size: int = BATCH) -> Iterator[Sequence[T]]:
    """Split seeds, or a sequence of the same length, into batches."""
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
    """Run `seeds` and pass the activation [N, C, ...] of every watched layer to its callback.

    Yields per batch the seeds and the images [N, 3, H, W] in [0, 1], or None without `with_images`, where the forward
    pass ends after the last watched layer. A layer that runs several times per pass is handed over each time.
    """
    compiled = generator.compute.compile
    running = _compiled(generator, watch) if compiled else _watched(generator, watch, with_images=with_images)
    with running as run:
        for part in batched(seeds, batch_size):
            images, seen = run(part)
            if missing := watch.keys() - seen:
                raise GanpatchError(f"layer '{min(missing)}' does not run in a forward pass of {generator.name}")
            yield part, images


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


@contextmanager
def _watched(generator: Generator, watch: Mapping[str, OnActivation], *, with_images: bool) -> Iterator[_Run]:
    """Return what runs seeds with the callbacks as hooks."""
    seen: set[str] = set()
    current: Sequence[int] = ()
    module = unwrapped(generator.module)

    def watcher(name: str, on_activation: OnActivation) -> Callable[[Any, int], None]:
        def on_output(output: Any, _call: int) -> None:
            activation = _activation(name, output)
            refuse_tokens(module, name, activation.shape)
            on_activation(activation, current)
            seen.add(name)
            if not with_images and len(seen) == len(watch):
                raise Enough

        return on_output

    def run(seeds: Sequence[int]) -> tuple[Tensor | None, set[str]]:
        nonlocal current
        current = seeds
        seen.clear()
        try:
            return generator.sample(seeds), seen
        except Enough:
            return None, seen

    with hooked(generator.module, {name: watcher(name, callback) for name, callback in watch.items()}):
        yield run


@contextmanager
def _compiled(generator: Generator, watch: Mapping[str, OnActivation]) -> Iterator[_Run]:
    """Return what runs seeds compiled, and hands over copies of all activations after each pass.

    A batch of another size than the first, as the last one may be, runs as it is: compiling again takes longer.
    """
    kept: list[tuple[str, Tensor]] = []

    def keeper(name: str) -> Callable[[Any, int], None]:
        return lambda output, _call: kept.append((name, _activation(name, output).clone()))

    def forward(inputs: Inputs) -> tuple[Any, list[tuple[str, Tensor]]]:
        kept.clear()
        return generator.module(*inputs), list(kept)

    torch.compiler.reset()  # else a pass with other hooks would be taken for this one
    fast, size = torch.compile(forward, dynamic=False), 0

    def run(seeds: Sequence[int]) -> tuple[Tensor | None, set[str]]:
        nonlocal size
        size = size or len(seeds)
        with torch.inference_mode(), generator.compute.casting(), _refusals_to_compile(generator.name):
            output, found = (fast if len(seeds) == size else forward)(generator.inputs_of(seeds))
        for name, activation in found:
            refuse_tokens(unwrapped(generator.module), name, activation.shape)
            watch[name](activation, seeds)
        return generator.images(output), {name for name, _ in found}

    with hooked(generator.module, {name: keeper(name) for name in watch}):
        yield run


@contextmanager
def _refusals_to_compile(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as fault:
        if not type(fault).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        reason = " ".join(line for line in str(fault).splitlines()[:2] if line) or type(fault).__name__
        raise GanpatchError(f"{name}: torch.compile refuses it: {reason}; run it without compiling") from fault


def _activation(name: str, output: Any) -> Tensor:
    tensor = tensor_of(output)
    if tensor is None or tensor.ndim < 2:
        raise GanpatchError(f"layer '{name}' returns a {type(output).__name__} without a tensor [N, C, ...]")
    return tensor
