"""Images under a brush or a slider: only what stands behind the edit is run again.

    tails = Tails(generator, inputs_at)
    tails.check("layer4")                               # once: does leaving out what stands before it change nothing?
    images = tails.images(points, edits, "layer4")      # None where the whole pass has to run

What ran before the layer is kept per points, as much of it as fits. Only the engine's thread calls it.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ganpatch.generator.generator import Generator
from ganpatch.graph.replay import Replay
from ganpatch.patch.applying import edits_applied
from ganpatch.patch.edit import Edit
from ganpatch.studio.state import Point

MOST_KEPT = 400_000_000  # bytes
_TOLERANCE = 1e-5  # the same operations on the same numbers: on a processor they are the same bits

Inputs = Callable[[Generator, Sequence[Point]], tuple[Tensor, ...]]
Key = tuple[str, tuple[Point, ...], tuple[Edit, ...]]


@dataclass(frozen=True, slots=True)
class _Front:
    """What was computed before a layer, from `args`."""

    args: tuple[Tensor, ...]
    replay: Replay


class Tails:
    """The rest of a generator's pass, by layer, and what was computed before it."""

    def __init__(self, generator: Generator, inputs: Inputs) -> None:
        self.generator, self._inputs = generator, inputs
        self.fits: dict[str, bool] = {}
        self._fronts: OrderedDict[Key, _Front] = OrderedDict()

    @torch.inference_mode()
    def check(self, layer: str) -> bool:
        """Find out whether the rest alone draws what the whole pass draws, with another image in between."""
        if layer not in self.fits:
            points = [Point(seed=0)], [Point(seed=1)]
            self.fits[layer] = True
            wholes = [self._drawn(one, (), layer) for one in points]
            again = [self._drawn(one, (), layer) for one in points]
            self.fits[layer] = all(
                torch.allclose(whole, rest, rtol=0, atol=_TOLERANCE) for whole, rest in zip(wholes, again, strict=True)
            )
            self._fronts.clear()
        return self.fits[layer]

    @torch.inference_mode()
    def images(self, points: Sequence[Point], edits: Sequence[Edit], layer: str) -> Tensor | None:
        """Draw images [N, 3, H, W] under edits, those of `layer` about to change; None where that is not known to fit.

        Edits of one of several runs of a layer count the runs, so they want the whole pass.
        """
        if not self.fits.get(layer) or any(edit.call is not None for edit in edits):
            return None
        return self._drawn(points, edits, layer)

    def _drawn(self, points: Sequence[Point], edits: Sequence[Edit], layer: str) -> Tensor:
        key = (layer, tuple(points), tuple(edit for edit in edits if edit.layer != layer))
        front, module = self._fronts.get(key), self.generator.module
        if front is not None:
            self._fronts.move_to_end(key)
            with front.replay.played(), edits_applied(module, edits):
                return self.generator.images(module(*front.args))
        front = _Front(self._inputs(self.generator, points), Replay(module, layer))
        with front.replay.recorded(), edits_applied(module, edits):
            images = self.generator.images(module(*front.args))
        self._keep(key, front)
        return images

    def _keep(self, key: Key, front: _Front) -> None:
        """Keep a front, and let go of the oldest where they are too large together."""
        self._fronts[key] = front
        sizes = [one.replay.nbytes for one in self._fronts.values()]
        while sum(sizes) > MOST_KEPT and sizes:
            sizes.pop(0)
            self._fronts.popitem(last=False)
