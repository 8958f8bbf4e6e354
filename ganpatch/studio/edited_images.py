"""Images under a brush or a slider: only the layers after the edit run again.

    edited = EditedImages(generator, inputs_at)
    edited.check("layer4")                              # once: are these the images of the whole pass?
    images = edited.images(points, edits, "layer4")     # None where the whole pass has to run

The prefix of each layer and list of points is kept, as many as fit. Only the engine's thread calls it.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ganpatch.generator.generator import Generator, Inputs
from ganpatch.graph.prefix import Prefix
from ganpatch.graph.remainder import Remainder
from ganpatch.patch.applying import as_change, edits_applied
from ganpatch.patch.edit import Edit
from ganpatch.studio.state import Point

MOST_KEPT = 400_000_000  # bytes

InputsAt = Callable[[Generator, Sequence[Point]], Inputs]
Key = tuple[str, tuple[Point, ...], tuple[Edit, ...]]


class EditedImages:
    """The remainder of a generator's pass by layer, and the prefixes that were computed for it."""

    def __init__(self, generator: Generator, inputs: InputsAt) -> None:
        self.generator, self._inputs = generator, inputs
        self.fits: dict[str, bool] = {}
        self._remainders: dict[str, Remainder] = {}
        self._prefixes: OrderedDict[Key, Prefix] = OrderedDict()

    @torch.inference_mode()
    def check(self, layer: str) -> bool:
        """Return whether the remainder draws the images of the whole pass."""
        if layer not in self.fits:
            self.fits[layer] = self._remainder(layer).agrees([[0], [1]])
        return self.fits[layer]

    @torch.inference_mode()
    def images(self, points: Sequence[Point], edits: Sequence[Edit], layer: str) -> Tensor | None:
        """Return images [N, 3, H, W] under `edits`, or None where the remainder of `layer` is not known to fit.

        Edits of one of several runs of a layer count the runs, so they need the whole pass.
        """
        if not self.fits.get(layer) or any(edit.call is not None for edit in edits):
            return None
        others = tuple(edit for edit in edits if edit.layer != layer)
        key, remainder = (layer, tuple(points), others), self._remainder(layer)
        with edits_applied(self.generator.module, others):
            if key not in self._prefixes:
                self._prefixes[key] = remainder.prefix_of(self._inputs(self.generator, points))
            self._prefixes.move_to_end(key)
            images = remainder(self._prefixes[key], as_change([edit for edit in edits if edit.layer == layer]))
        self._release()
        return images

    def _remainder(self, layer: str) -> Remainder:
        if layer not in self._remainders:
            self._remainders[layer] = Remainder.replayed(self.generator, layer)
        return self._remainders[layer]

    def _release(self) -> None:
        """Let go of the oldest prefixes where they are too large together."""
        sizes = [prefix.nbytes for prefix in self._prefixes.values()]
        while sum(sizes) > MOST_KEPT and sizes:
            sizes.pop(0)
            self._prefixes.popitem(last=False)
