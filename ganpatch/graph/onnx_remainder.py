"""An ONNX graph in two parts at a layer: what is not behind it runs once, what is behind it once per edit.

Used through `remainder.py`:

    way = GraphRemainder(generator, "Conv_3")
    prefix = way.prefix(inputs)
    images = way.images(prefix, lambda y: y * keep)

What the second part reads is kept in the prefix where it has one row per image; what depends on the number of images in
another way, such as a shape, is computed again. Hooks on layers behind the layer are called.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from ganpatch.errors import GanpatchError
from ganpatch.generator.generator import Generator, Inputs
from ganpatch.generator.layers import hooked, unwrapped
from ganpatch.graph.onnx_module import GraphModule, Recording, Resumed
from ganpatch.graph.onnx_parts import Cut, Key, Place
from ganpatch.graph.onnx_values import Values
from ganpatch.graph.prefix import Change, Prefix

_MOST_ROUNDS = 30
_SIZES = (2, 3)


class GraphRemainder:
    """Runs a generator whose module is a graph, before and after one layer."""

    def __init__(self, generator: Generator, layer: str) -> None:
        module = unwrapped(generator.module)
        assert isinstance(module, GraphModule)
        self._generator, self._layer, self._module = generator, layer, module
        if module.batch not in (None, 1):
            raise GanpatchError(f"the graph takes batches of {module.batch} only")
        self._also: tuple[Key, ...] = ()
        self._fixed: dict[Key, np.ndarray] = {}
        self._read: list[Key] = []
        self._kinds: Mapping[Key, np.dtype] = {}
        if module.batch is None:
            self._sort_values()

    def prefix(self, inputs: Inputs) -> Prefix:
        """Run what is not behind the layer."""
        values = self._recorded(inputs)
        cut, place = self._place()
        if self._module.batch == 1:
            self._read = self._needed(cut, place, values.keys)
        rows = [_rows(values, key) for key in self._read]
        self._kinds = {key: values.batches[0][key].dtype for key in (*self._read, place.before)}
        return Prefix(activation=self._module.seen(values, place).clone(), read=tuple(rows))

    def images(self, prefix: Prefix, change: Change) -> Tensor:
        """Run what is behind the layer, with `change` made to each of its outputs."""
        values = Values(len(prefix), self._module.batch)
        _, place = self._place()
        self._module.set_seen(values, place, prefix.activation, self._kinds[place.before])
        for key, tensor in zip(self._read, prefix.read, strict=True):
            _set_rows(values, key, tensor, self._kinds[key])
        for arrays in values.batches:
            arrays.update(self._fixed)
        with hooked(self._generator.module, {self._layer: lambda output, _call: change(output)}):
            return self._generator.images(self._module(Resumed(values, self._layer)))

    def _recorded(self, inputs: Inputs) -> Values:
        values = self._module(Recording(inputs, self._layer, self._also))
        assert isinstance(values, Values)
        return values

    def _place(self) -> tuple[Cut, Place]:
        cut = self._module.cut(self._layer)
        return cut, cut.places[cut.first(self._layer)]

    def _needed(self, cut: Cut, place: Place, known: frozenset[Key]) -> list[Key]:
        """Return what the part behind the layer reads, of what is known; the layer's own value is held apart."""
        later = [one.after for one in cut.places[cut.first(self._layer) :]]
        given = cut.part({*known, *later}, [cut.output]).given
        return [key for key in given if key in known and key != place.before]

    @torch.inference_mode()
    def _sort_values(self) -> None:
        """Find out which values have one row per image: those whose first size is 2 for two images and 3 for three."""
        dropped: set[Key] = set()
        for _ in range(_MOST_ROUNDS):
            runs = [self._recorded(self._generator.inputs_of(range(size))) for size in _SIZES]
            cut, place = self._place()
            needed = self._needed(cut, place, runs[0].keys - dropped)
            pairs = {key: (runs[0].batches[0][key], runs[1].batches[0][key]) for key in needed}
            self._fixed = {key: one for key, (one, other) in pairs.items() if np.array_equal(one, other)}
            per_image = [key for key, pair in pairs.items() if _lengths(pair) == _SIZES and key not in self._fixed]
            others = [key for key in needed if key not in self._fixed and key not in per_image]
            if not others:
                self._read = per_image
                return
            dropped.update(others)
            self._also += tuple(key for other in others for key in self._made_of(cut, other) if key not in self._also)
        raise GanpatchError("the graph cannot be cut at this layer for any number of images")

    def _made_of(self, cut: Cut, key: Key) -> list[Key]:
        node = cut.parts.values[key[0]].producer() if key[0] in cut.parts.values else None
        return [] if node is None else [own for _, own in cut.keys_read(node) if own[1] >= 0]


def _lengths(arrays: tuple[np.ndarray, np.ndarray]) -> tuple[int, ...]:
    return tuple(len(array) if array.ndim else 0 for array in arrays)


def _rows(values: Values, key: Key) -> Tensor:
    """Return a value with one row per image; of a graph for one image, each row is the whole value."""
    if values.batch == 1:
        return torch.stack([torch.from_numpy(arrays[key]) for arrays in values.batches])
    return torch.from_numpy(values.batches[0][key])


def _set_rows(values: Values, key: Key, tensor: Tensor, kind: np.dtype) -> None:
    if values.batch == 1:
        for arrays, row in zip(values.batches, tensor, strict=True):
            arrays[key] = row.numpy().astype(kind, copy=False)
    else:
        values.batches[0][key] = tensor.numpy().astype(kind, copy=False)
