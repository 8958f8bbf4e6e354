"""Seeds -> inputs -> activations and images, in batches.

    for seeds, images in stream(generator, {"layer4": on_activation}, seeds=range(1000)):
        ...                                     # on_activation(y, seeds) was called in between

A layer's activation is handed over inside its hook, while it is in the processor's cache and before an in-place
ReLU after it can overwrite it; nothing is kept, so memory does not grow with the number of seeds.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor

from ganpatch.errors import GanpatchError
from ganpatch.generator.generator import Generator, Inputs
from ganpatch.generator.layers import Enough, hooked, tensor_of, unwrapped
from ganpatch.generator.unit_axes import refuse_tokens

BATCH = 32

T = TypeVar("T")
OnActivation = Callable[[Tensor, Sequence[int]], None]
Progress = Callable[[int, int], None]
_Run = Callable[[Sequence[int]], tuple[Tensor | None, set[str]]]


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
