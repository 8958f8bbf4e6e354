"""A forward pass repeated without what is before a layer: modules that finished by then return their earlier output.

Used through `remainder.py`:

    replay = Replay(generator, "layer4", records=True)
    prefix = replay.prefix(inputs)
    with edits_applied(module, edits):
        images = replay.images(prefix, lambda y: y * keep)

Nothing is traced, so it works at once for any module that runs its layers by calling them, and returns the same bits.
It holds for the same hooks before the layer. Random numbers, and modules that keep something of one pass for the next,
break it: compare before you rely on it.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ganpatch.errors import GanpatchError
from ganpatch.generator.generator import Generator, Inputs
from ganpatch.generator.layers import Enough, find_layer, hooked, tensor_of, unwrapped, with_tensor
from ganpatch.graph.prefix import Change, Prefix

Forward = Callable[..., Any]
Outputs = Sequence[tuple[nn.Module, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedPrefix(Prefix):
    """A prefix with the `outputs` of the modules that ran before the layer, and of the layer; `read` are the inputs.

    Rows of it are a plain prefix, with the inputs only.
    """

    outputs: Outputs

    @property
    def nbytes(self) -> int:
        """How much memory the outputs take."""
        leaves = pytree.tree_leaves([output for _, output in self.outputs])
        return sum(leaf.nbytes for leaf in leaves if isinstance(leaf, Tensor))


class Replay:
    """Runs a generator's module, and skips what is before `layer` where that was recorded."""

    def __init__(self, generator: Generator, layer: str, *, records: bool) -> None:
        self._generator, self._layer, self._records = generator, layer, records
        self._module = unwrapped(generator.module)
        self._watched = find_layer(self._module, layer)

    def prefix(self, inputs: Inputs) -> Prefix:
        """Run the module until the layer has run for the first time."""
        kept: list[Tensor] = []

        def on_output(output: Any, _call: int) -> None:
            kept.append(_tensor(output).clone())
            raise Enough

        outputs: list[tuple[nn.Module, Any]] = []
        recording = _forwards(self._module, _recording(outputs)) if self._records else nullcontext()
        with recording, suppress(Enough), hooked(self._generator.module, {self._layer: on_output}):
            self._generator.outputs(inputs)
        if not kept:
            raise GanpatchError(f"layer '{self._layer}' does not run in a forward pass of {self._generator.name}")
        if not self._records:
            return Prefix(activation=kept[0], read=inputs)
        return RecordedPrefix(activation=kept[0], read=inputs, outputs=outputs)

    def images(self, prefix: Prefix, change: Change) -> Tensor:
        """Run the module with `change` made to each of the layer's outputs; recorded modules do not run again."""

        def on_output(output: Any, _call: int) -> Any:
            return with_tensor(output, change(_tensor(output)))

        outputs = prefix.outputs if isinstance(prefix, RecordedPrefix) else ()
        playing = _forwards(self._module, _playing(outputs)) if outputs else nullcontext()
        with playing, hooked(self._generator.module, {self._layer: on_output}):
            return self._generator.images(self._generator.outputs(prefix.read))


def _recording(outputs: list[tuple[nn.Module, Any]]) -> Callable[[nn.Module, Forward], Forward]:
    """Return what wraps a module's forward so that its outputs are kept, before hooks change them."""

    def recording(inner: nn.Module, forward: Forward) -> Forward:
        def run(*args: Any, **kwargs: Any) -> Any:
            start = len(outputs)
            output = forward(*args, **kwargs)
            if not _changes_in_place(args, output):
                del outputs[start:]  # what ran inside it will not be asked for
                outputs.append((inner, _copied(output)))
            return output

        return run

    return recording


def _playing(outputs: Outputs) -> Callable[[nn.Module, Forward], Forward]:
    """Return what wraps a module's forward so that it returns what was kept, as often as it ran."""
    kept: dict[nn.Module, deque[Any]] = {}
    for inner, output in outputs:
        kept.setdefault(inner, deque()).append(output)

    def playing(inner: nn.Module, forward: Forward) -> Forward:
        waiting = kept.get(inner)
        if waiting is None:
            return forward

        def run(*args: Any, **kwargs: Any) -> Any:
            return _copied(waiting.popleft()) if waiting else forward(*args, **kwargs)

        return run

    return playing


def _tensor(output: Any) -> Tensor:
    tensor = tensor_of(output)
    if tensor is None:
        raise GanpatchError(f"the layer returns a {type(output).__name__} without a tensor [N, C, ...]")
    return tensor


@contextmanager
def _forwards(module: nn.Module, wrap: Callable[[nn.Module, Forward], Forward]) -> Iterator[None]:
    """Replace the forward of every module inside by `wrap(inner, forward)`; hooks are called around it."""
    inside = [m for m in module.modules() if m is not module and not isinstance(m, torch.jit.ScriptModule)]
    own = [(inner, inner.__dict__.get("forward")) for inner in inside]
    try:
        for inner in inside:
            inner.__dict__["forward"] = wrap(inner, inner.forward)
        yield
    finally:
        for inner, before in own:
            if before is None:
                inner.__dict__.pop("forward", None)
            else:
                inner.__dict__["forward"] = before


def _changes_in_place(args: tuple[Any, ...], output: Any) -> bool:
    """Return whether a module returns its input, changed in place: others may still read it, so it runs every time."""
    return isinstance(output, Tensor) and any(isinstance(a, Tensor) and a.data_ptr() == output.data_ptr() for a in args)


def _copied(output: Any) -> Any:
    """Copy tensors: an in-place operation after a module would change what is kept of its output."""
    return pytree.tree_map(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, output)
