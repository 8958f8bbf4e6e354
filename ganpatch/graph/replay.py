"""A forward pass once more, without what stood before a layer: modules that had finished by then give what they gave.

    replay = Replay(module, "layer4")
    with replay.recorded():
        module(z)                           # a whole pass
    with replay.played(), edits_applied(module, edits_of_layer4):
        module(z)                           # the same input; "layer4" gives its output, what stands behind it runs

Nothing is traced, so it works for whatever runs its modules by calling them, at once, and gives the same bits. It holds
for the same input and the same hooks before the layer. Random numbers, or modules that keep something of one pass for
the next, break it: compare before it is relied upon.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ganpatch.generator.layers import find_layer, unwrapped

Forward = Callable[..., Any]


class Replay:
    """What the modules of one pass gave before `layer` had run for the first time, and `layer` itself."""

    def __init__(self, module: nn.Module, layer: str) -> None:
        self._module = unwrapped(module)
        self._layer = find_layer(self._module, layer)
        self._log: list[tuple[nn.Module, Any]] = []

    @property
    def nbytes(self) -> int:
        """How much memory is kept."""
        leaves = pytree.tree_leaves([output for _, output in self._log])
        return sum(leaf.nbytes for leaf in leaves if isinstance(leaf, Tensor))

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Keep what modules give, before hooks change it, in the one pass that runs inside the block."""
        log: list[tuple[nn.Module, Any]] = []
        is_over = False

        def recording(inner: nn.Module, forward: Forward) -> Forward:
            def run(*args: Any, **kwargs: Any) -> Any:
                nonlocal is_over
                start = len(log)
                output = forward(*args, **kwargs)
                if not is_over and not _changes_in_place(args, output):
                    del log[start:]  # what ran inside it will not be asked for
                    log.append((inner, _copied(output)))
                is_over |= inner is self._layer
                return output

            return run

        with _forwards(self._module, recording):
            yield
        self._log = log

    @contextmanager
    def played(self) -> Iterator[None]:
        """Have modules give what was kept, each as often as it ran, in the one pass that runs inside the block."""
        kept: dict[nn.Module, deque[Any]] = {}
        for inner, output in self._log:
            kept.setdefault(inner, deque()).append(output)

        def playing(inner: nn.Module, forward: Forward) -> Forward:
            outputs = kept.get(inner)
            if outputs is None:
                return forward

            def run(*args: Any, **kwargs: Any) -> Any:
                return _copied(outputs.popleft()) if outputs else forward(*args, **kwargs)

            return run

        with _forwards(self._module, playing):
            yield


@contextmanager
def _forwards(module: nn.Module, wrap: Callable[[nn.Module, Forward], Forward]) -> Iterator[None]:
    """Put `wrap(inner, forward)` in the place of the forward of every module inside; hooks run around it as ever."""
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
    """Return whether a module gives its input back, changed: others may still read that, so it runs every time."""
    return isinstance(output, Tensor) and any(isinstance(a, Tensor) and a.data_ptr() == output.data_ptr() for a in args)


def _copied(output: Any) -> Any:
    """Copy tensors: an in-place operation behind a module would change what is kept of it."""
    return pytree.tree_map(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, output)
