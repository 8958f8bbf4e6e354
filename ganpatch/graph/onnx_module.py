"""An ONNX graph as a module: its passes run in onnxruntime, and its layers can be hooked as those of any module.

    module = GraphModule(Path("model.onnx"), Feeds(names=("z",)))
    with hooked(module, {"Conv_3": on_output}):
        images = module(z)

The graph is cut at the layers that are hooked. A value that leaves several layers passes their hooks from the inside to
the outside. A graph for batches of one size runs batch after batch.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from torch import Tensor, nn

from ganpatch.errors import GanpatchError
from ganpatch.generator.backend import Backend
from ganpatch.generator.device import Compute
from ganpatch.generator.fingerprints import Fingerprint
from ganpatch.graph.onnx_axes import has_units_last, is_image_last
from ganpatch.graph.onnx_graphs import graph_fingerprint, load_graph
from ganpatch.graph.onnx_layers import OnnxLayer, find_layers, find_onnx_layer
from ganpatch.graph.onnx_parts import Cut, GraphParts, Key, Place
from ganpatch.graph.onnx_values import Values

_MOST_CUTS = 24  # layers: where more are hooked, all of the graph runs with their values as outputs
_MOST_NUMBERS = 1 << 31  # in one value
_MOST_KEPT = 12  # sets of hooked layers whose sessions are kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Feeds:
    """What the graph's inputs are fed with: the module's arguments, by `names` in order, and `constants`."""

    names: tuple[str, ...]
    constants: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recording:
    """In place of a module's arguments: run up to `layer`, and return what was computed and is not behind it."""

    inputs: tuple[Tensor, ...]
    layer: str
    also: tuple[Key, ...] = ()


@dataclass(frozen=True, slots=True)
class Resumed:
    """In place of a module's arguments: continue a pass, from what is known of it."""

    values: Values
    layer: str


class Layer(nn.Module):
    """A layer of a graph; hooks on it see what the graph computed."""

    def forward(self, y: Tensor) -> Tensor:
        return y


class GraphModule(Backend):
    """An ONNX graph as a module in eval mode; `output` is the graph's output that is the images.

    `model` is the content of the file `source` where it has been loaded already.
    """

    def __init__(self, source: Path, feeds: Feeds, output: str = "", model: ir.Model | None = None) -> None:
        super().__init__()
        model = load_graph(source) if model is None else model
        _refuse_gigantic(source, model)
        self.source, self.feeds = source, feeds
        found = find_layers(model)
        self._graph: dict[str, Any] = {"model": model, "layers": found}  # not modules, nor copied as such
        self._output = next((value for value in model.graph.outputs if value.name == output), model.graph.outputs[0])
        self._parts = GraphParts(source, model, self._output)
        self._cuts: dict[tuple[str, ...], Cut] = {}
        self.batch = fixed_batch(model, feeds)
        for name, layer in found.items():
            if not layer.unclear:
                kind = layer.operation if layer.operation.isidentifier() else "Layer"
                _put(self, name, type(kind, (Layer,), {"__module__": __name__})())
        self.eval()

    @property
    def layers(self) -> dict[str, OnnxLayer]:
        """The layers of the graph by name, also those that cannot be addressed."""
        return self._graph["layers"]  # type: ignore[no-any-return]

    def forward(self, *inputs: Any) -> Any:
        """Return the images; hooks on layers are called on the way."""
        first = inputs[0] if inputs else None
        if isinstance(first, Resumed):
            return self._run(first.values, self.cut(first.layer), since=first.layer)
        if isinstance(first, Recording):
            return self._recorded(first)
        return self._run(started(self._graph["model"], self.feeds, inputs), self.cut())

    def place(self, compute: Compute) -> None:
        """Refuse whatever onnxruntime on the CPU does not do."""
        if compute != Compute():
            raise GanpatchError(
                f"'{self.source}' is an ONNX graph, which runs in onnxruntime on the CPU in its own number format, "
                "not compiled; leave out --device, --dtype, --channels-last and --compile"
            )

    @property
    def identity(self) -> Fingerprint:
        """The fingerprint of the torch model where the graph records it, else that of its own weights."""
        return self._identity()[0]

    @property
    def is_known(self) -> bool:
        """Whether the graph records which torch model it was exported from."""
        return self._identity()[1]

    def _identity(self) -> tuple[Fingerprint, bool]:
        if "identity" not in self._graph:
            self._graph["identity"] = graph_fingerprint(self._graph["model"])
        return self._graph["identity"]  # type: ignore[no-any-return]

    def reopened(self, path: Path) -> "GraphModule":
        """Return the graph in another file as a module that is fed as this one is."""
        return GraphModule(path, self.feeds, str(self._output.name))

    def why_missing(self, layer: str) -> str:
        """Return why the graph has no such layer."""
        try:
            find_onnx_layer(self._graph["model"], self.layers, layer)
        except GanpatchError as fault:
            return str(fault)
        return ""

    def cut(self, layer: str = "") -> Cut:
        """Return the graph cut at the layers that have hooks, and at `layer`."""
        names = [name for name, found in self.layers.items() if not found.unclear]
        return self._cut_at(tuple(name for name in names if name == layer or _is_hooked(_got(self, name))))

    def seen(self, values: Values, place: Place) -> Tensor:
        """Return the activation [N, C, ...] that hooks of a layer see."""
        y = values.tensor(place.before)
        return y.movedim(-1, 1) if has_units_last(place.value) else y

    def set_seen(self, values: Values, place: Place, y: Tensor, kind: np.dtype) -> None:
        """Set the value of a layer before its hooks, from what they see."""
        values.assign(place.before, y.movedim(1, -1) if has_units_last(place.value) else y, kind)

    def _cut_at(self, hooked: tuple[str, ...]) -> Cut:
        if hooked not in self._cuts:
            while len(self._cuts) >= _MOST_KEPT:
                del self._cuts[next(iter(self._cuts))]
            self._cuts[hooked] = Cut(self._parts, list(self._places(hooked)))
        return self._cuts[hooked]

    def _places(self, names: Sequence[str]) -> Iterator[Place]:
        order = {value: place for place, node in enumerate(self._parts.nodes) for value in node.outputs}
        runs = [
            (order[value], -len(name), name, call, value)
            for name in names
            for call, value in enumerate(self.layers[name].values)
        ]
        passed: dict[ir.Value, int] = {}
        for _, _, name, call, value in sorted(runs, key=lambda run: run[:2]):
            yield Place(name, call, value, passed.get(value, 0))
            passed[value] = passed.get(value, 0) + 1

    def _run(self, values: Values, cut: Cut, *, since: str = "") -> Tensor:
        """Run the graph from what is known; with `since`, from that layer on, whose value before its hooks is known."""
        start = cut.first(since) if since else 0
        exposed = len(cut.places) - start > _MOST_CUTS
        if exposed:
            whole = self._cut_at(())
            wanted = dict.fromkeys([*((str(place.value.name), 0) for place in cut.places[start:]), whole.output])
            values.compute(whole.part(values.keys, list(wanted)))
        for number in range(start, len(cut.places)):
            if self._hook(values, cut, cut.places[number]) and exposed:
                values.forget({str(value.name) for node in cut.behind(number) for value in node.outputs})
        values.compute(cut.part(values.keys, [cut.output]))
        images = values.tensor(cut.output)
        return images.movedim(-1, 1) if is_image_last(self._output) else images

    def _hook(self, values: Values, cut: Cut, place: Place) -> bool:
        """Compute the value of a layer and call its hooks; return whether they changed it."""
        values.compute(cut.part(values.keys, [place.before]))
        y = self.seen(values, place)
        changed = _got(self, place.layer)(y)
        if changed is y:
            values.pass_on(place)
            return False
        if changed.requires_grad:
            raise GanpatchError(
                f"'{self.source}' is an ONNX graph, which has no gradients; what needs them, such as alphas, "
                "needs the model in torch"
            )
        values.put(place, changed.movedim(1, -1) if has_units_last(place.value) else changed)
        return True

    def _recorded(self, asked: Recording) -> Values:
        cut = self.cut(asked.layer)
        values = started(self._graph["model"], self.feeds, asked.inputs)
        number = cut.first(asked.layer)
        for place in cut.places[:number]:
            self._hook(values, cut, place)
        values.compute(cut.part(values.keys, [cut.places[number].before, *asked.also], until=number))
        return values


def started(model: ir.Model, feeds: Feeds, inputs: Sequence[Tensor]) -> Values:
    """Return the values of a pass that has not begun: its inputs."""
    if len(inputs) != len(feeds.names):
        raise GanpatchError(f"the graph takes {len(feeds.names)} inputs, not {len(inputs)}")
    values = Values(len(inputs[0]), fixed_batch(model, feeds))
    declared = {str(value.name): value for value in model.graph.inputs}
    for name, tensor in zip(feeds.names, inputs, strict=True):
        values.feed(declared[name], tensor)
    for name, array in feeds.constants.items():
        values.fill(declared[name], array)
    return values


def fixed_batch(model: ir.Model, feeds: Feeds) -> int | None:
    """Return the batch size of a graph that takes no other: that of the input that is fed first."""
    value = next((value for value in model.graph.inputs if value.name in feeds.names), None)
    shape = None if value is None else value.shape
    size = shape[0] if shape is not None and len(shape) > 1 else None
    return size if isinstance(size, int) else None


def _refuse_gigantic(source: Path, model: ir.Model) -> None:
    """Raise GanpatchError for a graph that declares values that no machine holds, before any is made."""
    for node in model.graph:
        for value in node.outputs:
            sizes = [size for size in value.shape or () if isinstance(size, int)]
            if math.prod(sizes) > _MOST_NUMBERS:
                raise GanpatchError(f"'{source}' declares a value '{value.name}' of {sizes}, more than can be computed")


def _is_hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks)


def _put(module: nn.Module, name: str, layer: nn.Module) -> None:
    """Put a layer at a dotted name; names that nn.Module has as attributes are allowed."""
    *path, last = name.split(".")
    for part in path:
        module = module._modules.setdefault(part, nn.Module())  # type: ignore[assignment]
    before = module._modules.get(last)
    if before is not None:
        layer._modules.update(before._modules)
    module._modules[last] = layer


def _got(module: nn.Module, name: str) -> nn.Module:
    """Return the layer at a dotted name."""
    for part in name.split("."):
        inner = module._modules[part]
        assert inner is not None
        module = inner
    return module
