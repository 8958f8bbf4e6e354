"""Images under a brush: only the layers after the edit are run again.

    tails = Tails(generator, inputs_at)
    tails.prepare("layer4")                 # once: the pass is cut at the layer
    images = tails.images(points, edits)    # None where the whole pass has to run: edits of several layers, or no cut

What stands before the layer is kept per points. Only the engine's thread calls it: cutting a pass traces the module,
and nothing else may run a module of this process meanwhile.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ganpatch.apply import as_change
from ganpatch.edit import Edit
from ganpatch.generator import Generator
from ganpatch.studio.state import Point
from ganpatch.tail import Front, Tail

_FRONTS, _TAILS = 16, 6

Inputs = Callable[[Generator, Sequence[Point]], tuple[Tensor, ...]]


class Tails:
    """The rest of a generator's pass, by layer, and what was computed before it."""

    def __init__(self, generator: Generator, inputs: Inputs) -> None:
        self.generator, self._inputs = generator, inputs
        self._tails: OrderedDict[str, Tail] = OrderedDict()
        self._fronts: OrderedDict[tuple[str, tuple[Point, ...]], Front] = OrderedDict()

    def prepare(self, layer: str) -> None:
        """Cut the pass at a layer, if that is not done yet."""
        if layer not in self._tails:
            self._tails[layer] = Tail.of(self.generator, layer)
            while len(self._tails) > _TAILS:
                self._tails.popitem(last=False)

    def images(self, points: Sequence[Point], edits: Sequence[Edit]) -> Tensor | None:
        """Draw images [N, 3, H, W] under edits of one layer; None when the pass is not cut there, or not exactly."""
        layers = {edit.layer for edit in edits}
        tail = self._tails.get(next(iter(layers))) if len(layers) == 1 else None
        if tail is None or not tail.is_split or any(edit.call is not None for edit in edits):
            return None
        with torch.no_grad():
            return tail(self._front(tail, tuple(points)), as_change(edits))

    def _front(self, tail: Tail, points: tuple[Point, ...]) -> Front:
        key = (tail.layer, points)
        if key in self._fronts:
            self._fronts.move_to_end(key)
        else:
            self._fronts[key] = tail.front_of(self._inputs(self.generator, points), {})
            while len(self._fronts) > _FRONTS:
                self._fronts.popitem(last=False)
        return self._fronts[key]
