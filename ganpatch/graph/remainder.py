"""The remainder of a forward pass after a layer: the layers before it run once, those after it once per edit.

    remainder = Remainder.of(generator, "layer4")
    prefix = remainder.prefix(seeds=[0, 1])                         # prefix.activation [2, C, h, w]
    images = remainder(prefix, lambda y: y * keep)                  # [2, 3, H, W] in [0, 1]
    images = remainder(prefix.rows([1, 1, 1]), lambda y: y * keeps) # one image, three edits

There are three ways to run it, and this is where one is chosen. An ONNX graph is cut (`onnx_remainder`). `split` traces
a torch module and runs the operations that depend on the layer. `replay` needs no tracing: it runs the module, and
modules that finished before the layer return their earlier output. What cannot be cut, or traced for any batch size,
runs as a whole, with the same images.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from ganpatch.errors import GanpatchError
from ganpatch.generator.backend import Backend
from ganpatch.generator.generator import Generator, Inputs
from ganpatch.generator.layers import find_layer, unwrapped
from ganpatch.graph.prefix import Change, Prefix
from ganpatch.graph.replay import Replay
from ganpatch.graph.split import SplitGraph

_BATCHES = (range(1), range(3))  # the graph was traced with two images
_TOLERANCE = 1e-5  # of images in [0, 1]: the same operations, at most in another order


class Way(Protocol):
    """How the two parts of a forward pass are run."""

    def prefix(self, inputs: Inputs) -> Prefix:
        """Run what is before the layer."""

    def images(self, prefix: Prefix, change: Change) -> Tensor:
        """Run what is after the layer, with `change` made to each of the layer's outputs."""


class Remainder:
    """Runs a generator after one layer; made by `Remainder.of`."""

    def __init__(self, generator: Generator, layer: str, way: Way) -> None:
        self.generator, self.layer, self._way = generator, layer, way

    @classmethod
    def of(cls, generator: Generator, layer: str) -> "Remainder":
        """Trace `generator` and split it at `layer`, or run all of it where that fails.

        Raises GanpatchError when there is no such layer, or it does not run.
        """
        find_layer(generator.module, layer)
        try:
            remainder = cls(generator, layer, _way(generator, layer))
        except GanpatchError:
            return cls.whole(generator, layer)
        return remainder if remainder.agrees(_BATCHES) else cls.whole(generator, layer)

    @classmethod
    def whole(cls, generator: Generator, layer: str) -> "Remainder":
        """Return a remainder that runs the whole module each time, so that hooks on any layer are called."""
        return cls(generator, layer, Replay(generator, layer, records=False))

    @classmethod
    def replayed(cls, generator: Generator, layer: str) -> "Remainder":
        """Return a remainder that is ready at once; whether it holds for this generator, `agrees` finds out.

        Hooks on the layer and on those after it are called; hooks on those before it must be the same as for the
        prefix. Rows of a prefix are run as a whole.
        """
        if _is_graph(generator):
            return cls.of(generator, layer)
        return cls(generator, layer, Replay(generator, layer, records=True))

    @property
    def is_split(self) -> bool:
        """Return whether only operations after the layer run."""
        return not isinstance(self._way, Replay)

    def prefix(self, seeds: Sequence[int]) -> Prefix:
        """Run what is before the layer for `seeds`, in one batch."""
        return self.prefix_of(self.generator.inputs_of(seeds))

    @torch.no_grad()
    def prefix_of(self, inputs: Inputs) -> Prefix:
        """Run what is before the layer for inputs of the module."""
        return self._way.prefix(inputs)

    def __call__(self, prefix: Prefix, change: Change) -> Tensor:
        """Return images [N, 3, H, W] in [0, 1] with `change` made to the layer's output, in each of its runs.

        Gradients flow from the images into what `change` uses, if they are enabled.
        """
        return self._way.images(prefix, change)

    @torch.no_grad()
    def agrees(self, batches: Sequence[Sequence[int]]) -> bool:
        """Return whether prefix and remainder return the generator's own images of each batch of seeds.

        All prefixes run before all remainders: a module that keeps something from one pass for the next is found.
        """
        wholes = [self.generator.sample(seeds) for seeds in batches]
        try:
            prefixes = [self.prefix(seeds) for seeds in batches]
            found = [self(prefix, lambda y: y) for prefix in prefixes]
        except (RuntimeError, TypeError, ValueError, IndexError):
            return False
        return all(torch.allclose(*pair, atol=_TOLERANCE) for pair in zip(found, wholes, strict=True))


def _way(generator: Generator, layer: str) -> Way:
    if not _is_graph(generator):
        return SplitGraph.of(generator, layer)
    from ganpatch.graph.onnx_remainder import GraphRemainder  # onnx takes long to import

    return GraphRemainder(generator, layer)


def _is_graph(generator: Generator) -> bool:
    return isinstance(unwrapped(generator.module), Backend)
