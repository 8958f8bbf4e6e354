"""An ONNX graph in parts: each computes some values from others in onnxruntime, and keeps what later parts read.

    cut = Cut(parts_of, [site, ...])        # the layers at whose values the graph is cut
    part = cut.part(known, [key])           # computes `key` from what is known
    found = part.run(values)                # {key: array}

The value of a layer exists several times: as the layer computes it, and as it is after the hooks of each layer that it
leaves. A key is a value's name and how many hooks it has passed.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_ir as ir

from ganpatch.errors import GanpatchError, explained, first_line
from ganpatch.graph.onnx_addresses import inner_nodes, values_read
from ganpatch.graph.onnx_scopes import scopes_of

if TYPE_CHECKING:
    import onnxruntime

Key = tuple[str, int]
Arrays = dict[Key, np.ndarray]
RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
_EDITED = "ganpatch.edited."
_SMALL = 1024  # bytes: smaller tensors stand in the part itself
_SHARED = {np.dtype(kind) for kind in ("float32", "float16", "float64", "int64", "int32", "int8", "uint8", "bool")}


@dataclass(frozen=True, slots=True)
class Place:
    """One run of a layer: the `value` that leaves it, and how many hooks of other layers that passes before."""

    layer: str
    call: int
    value: ir.Value
    version: int

    @property
    def before(self) -> Key:
        return str(self.value.name), self.version

    @property
    def after(self) -> Key:
        return str(self.value.name), self.version + 1


class GraphParts:
    """A loaded graph of which parts can be run; sessions share its weights."""

    def __init__(self, source: Path, model: ir.Model, output: ir.Value) -> None:
        self.source, self.model, self.output = source, model, output
        self.nodes = list(model.graph)
        self.place = {node: place for place, node in enumerate(self.nodes)}
        self.reads = {node: list(dict.fromkeys(values_read(node))) for node in self.nodes}
        self.values = {str(value.name): value for node in self.nodes for value in node.outputs}
        self.fixed = self._fixed()
        self._weights: dict[str, tuple[onnx.TensorProto, object]] = {}

    def _fixed(self) -> set[ir.Node]:
        """Return the nodes that compute the same in every pass: every part has its own, and onnxruntime folds them."""
        fixed: set[ir.Node] = set()
        for node in self.nodes:
            makers = [value.producer() for value in self.reads[node] if not value.is_initializer()]
            if all(maker in fixed for maker in makers) and node.op_type not in RANDOM:
                fixed.add(node)
        return fixed

    def weight(self, value: ir.Value) -> "tuple[onnx.TensorProto, onnxruntime.OrtValue | None]":
        """Return a weight as an initialiser of a part, and where it is large the memory that sessions share."""
        name = str(value.name)
        if name not in self._weights:
            self._weights[name] = _weight(value)
        return self._weights[name]


class Cut:
    """The graph, cut at the values of some layers."""

    def __init__(self, parts: GraphParts, places: Sequence[Place]) -> None:
        self.parts, self.places = parts, places
        self._marks: dict[ir.Value, list[str]] = {}
        for place in places:
            self._marks.setdefault(place.value, []).append(place.layer)
        self.output: Key = (str(parts.output.name), len(self._marks.get(parts.output, ())))
        self._made: dict[tuple[frozenset[Key], tuple[Key, ...], int | None], Part] = {}
        self._reads = {node: self._keys_read(node) for node in parts.nodes}
        self._readers: dict[Key, list[ir.Node]] = {}
        for node, keys in self._reads.items():
            for _, key in keys:
                self._readers.setdefault(key, []).append(node)
        wanted = {self.output, *(place.before for place in places)}
        self._useful = self._needed(wanted, frozenset(), through_hooks=True)

    def part(self, known: Iterable[Key], wanted: Sequence[Key], until: int | None = None) -> "Part":
        """Return the part that computes `wanted` from `known`; with `until` also all that is not behind that place."""
        given = frozenset(known)
        asked = (given, tuple(wanted), until)
        if asked not in self._made:
            nodes = self._needed(wanted, given)
            if until is not None:
                nodes |= self._useful - self.behind(until) - self._known(given)
            kept = [key for key in self._leaving(nodes) if key not in wanted]
            self._made[asked] = Part(self, nodes, [key for key in dict.fromkeys([*wanted, *kept]) if key not in given])
        return self._made[asked]

    def first(self, layer: str) -> int:
        """Return the number of the first place of a layer."""
        return next(number for number, place in enumerate(self.places) if place.layer == layer)

    def keys_read(self, node: ir.Node) -> list[tuple[ir.Value, Key]]:
        """Return what a node reads: each value, and its key."""
        return self._reads[node]

    def _keys_read(self, node: ir.Node) -> list[tuple[ir.Value, Key]]:
        scopes = scopes_of(node)
        found = []
        for value in self.parts.reads[node]:
            if value.is_initializer():
                found.append((value, (str(value.name), -1)))  # a weight
                continue
            passed = 0
            for layer in self._marks.get(value, ()):
                if layer in scopes:
                    break
                passed += 1
            found.append((value, (str(value.name), passed)))
        return found

    def _needed(self, wanted: Iterable[Key], known: frozenset[Key], *, through_hooks: bool = False) -> set[ir.Node]:
        """Return the nodes that compute `wanted` from `known`."""
        nodes: set[ir.Node] = set()
        waiting = list(wanted)
        while waiting:
            key = waiting.pop()
            if key in known or (key[1] > 0 and not through_hooks):
                continue
            value = self.parts.values.get(key[0])
            node = value.producer() if value is not None else None
            if node is not None and node not in nodes:
                nodes.add(node)
                waiting += [own for _, own in self._reads[node]]
        return nodes

    def behind(self, place: int) -> set[ir.Node]:
        """Return the nodes that depend on what the hooks of a place, or of a later one, made."""
        hooked = {one.after for one in self.places[place:]}
        behind: set[ir.Node] = set()
        for node in self.parts.nodes:
            if any(key in hooked or value.producer() in behind for value, key in self._reads[node]):
                behind.add(node)
        return behind

    def _known(self, known: frozenset[Key]) -> set[ir.Node]:
        names = {name for name, passed in known if passed == 0}
        return {node for node in self.parts.nodes if all(str(value.name) in names for value in node.outputs)}

    def _leaving(self, nodes: set[ir.Node]) -> Iterator[Key]:
        """Yield what other useful nodes read of what `nodes` compute."""
        for node in sorted(nodes - self.parts.fixed, key=self.parts.place.__getitem__):
            for value in node.outputs:
                key = (str(value.name), 0)
                outside = any(reader in self._useful and reader not in nodes for reader in self._readers.get(key, ()))
                if outside or key == self.output:
                    yield key


class Part:
    """A part of a graph as a session of onnxruntime; without nodes it computes nothing."""

    def __init__(self, cut: Cut, nodes: set[ir.Node], wanted: Sequence[Key]) -> None:
        self._cut, self.wanted = cut, list(wanted)
        self._nodes = sorted(nodes, key=cut.parts.place.__getitem__)
        inside = {(str(value.name), 0) for node in nodes for value in node.outputs}
        read = {key: value for node in self._nodes for value, key in cut.keys_read(node)}
        self.given = {key: value for key, value in read.items() if key[1] >= 0 and key not in inside}
        self._weights = [value for key, value in read.items() if key[1] < 0]
        self._session: onnxruntime.InferenceSession | None = None
        self._held: list[object] = []

    def run(self, values: Mapping[Key, np.ndarray]) -> Arrays:
        """Run the part; raise GanpatchError when onnxruntime cannot."""
        if not self._nodes:
            return {}
        source = self._cut.parts.source
        fed = {_text(key): np.ascontiguousarray(values[key]) for key in self.given}
        if self._session is None:
            self._session = self._opened(fed)
        try:
            found = self._session.run([_text(key) for key in self.wanted], fed)
        except Exception as fault:
            raise GanpatchError(f"'{source}': onnxruntime cannot run it: {first_line(fault, 300)}") from fault
        return {key: np.asarray(array) for key, array in zip(self.wanted, found, strict=True)}

    def _opened(self, fed: Mapping[str, np.ndarray]) -> "onnxruntime.InferenceSession":
        from ganpatch.untrusted.onnx_files import open_parts  # onnxruntime takes long to import

        parts = self._cut.parts
        with explained(f"'{parts.source}': a part of the graph cannot be made"):
            graph = onnx.GraphProto(name="part")
            shared: dict[str, object] = {}
            for value in self._weights:
                tensor, memory = parts.weight(value)
                graph.initializer.append(tensor)
                if memory is not None:
                    shared[str(value.name)] = memory
            graph.input.extend(self._input(key, value, fed[_text(key)]) for key, value in self.given.items())
            self._add_nodes(graph)
            graph.output.extend(onnx.ValueInfoProto(name=_text(key)) for key in self.wanted)
            model = _model(parts.model, graph)
        return open_parts(parts.source, model, shared)

    def _input(self, key: Key, value: ir.Value, array: np.ndarray) -> onnx.ValueInfoProto:
        if value.is_graph_input() and not key[1]:
            return ir.serde.serialize_value(value)
        sizes: list[int | None] = [None] * array.ndim
        if array.ndim > 1:
            sizes[1] = array.shape[1]
        kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        return onnx.helper.make_tensor_value_info(_text(key), kind, sizes)

    def _add_nodes(self, graph: onnx.GraphProto) -> None:
        """Add the nodes; one that reads what hooks have changed reads it by that name."""
        bf16 = {_text(key): value for key, value in self.given.items() if _is_bf16(value)}
        for name in bf16:
            graph.node.append(onnx.helper.make_node("Cast", [name], [f"{name}.bf16"], to=onnx.TensorProto.BFLOAT16))
        for node in self._nodes:
            made = ir.serde.serialize_node(node)
            renamed = {str(value.name): _text(key) for value, key in self._cut.keys_read(node) if key[1] > 0}
            renamed |= {
                str(value.name): f"{_text(key)}.bf16" for value, key in self._cut.keys_read(node) if _text(key) in bf16
            }
            if renamed and any(inner_nodes(node)):
                raise GanpatchError(
                    f"'{self._cut.parts.source}': the body of {node.op_type} '{node.name}' reads a hooked layer"
                )
            made.input[:] = [renamed.get(name, name) for name in made.input]
            graph.node.append(made)
        outputs = {str(value.name): value for node in self._nodes for value in node.outputs}
        for key in self.wanted:
            if _is_bf16(outputs[key[0]]):
                _cast_output(graph, key[0])


def _cast_output(graph: onnx.GraphProto, name: str) -> None:
    """Compute `name` in float32: NumPy has no bfloat16."""
    for node in graph.node:
        node.input[:] = [f"{name}.bf16" if own == name else own for own in node.input]
        node.output[:] = [f"{name}.bf16" if own == name else own for own in node.output]
    graph.node.append(onnx.helper.make_node("Cast", [f"{name}.bf16"], [name], to=onnx.TensorProto.FLOAT))


def _weight(value: ir.Value) -> tuple[onnx.TensorProto, object]:
    import onnxruntime  # takes long to import

    tensor = value.const_value
    assert tensor is not None
    array = tensor.numpy() if tensor.dtype.numpy() in _SHARED else None
    if array is None or array.nbytes <= _SMALL:
        return ir.serde.serialize_tensor(tensor if array is None else ir.tensor(array, name=value.name)), None
    made = onnx.TensorProto(name=value.name, data_type=int(tensor.dtype), dims=array.shape)
    made.data_location = onnx.TensorProto.EXTERNAL
    made.external_data.add(key="location", value="shared")
    return made, onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))


def _model(model: ir.Model, graph: onnx.GraphProto) -> onnx.ModelProto:
    made = onnx.ModelProto(ir_version=max(4, model.ir_version), graph=graph)
    made.opset_import.extend(onnx.helper.make_opsetid(name, version) for name, version in model.opset_imports.items())
    made.functions.extend(ir.serde.serialize_function(function) for function in model.functions.values())
    return made


def _is_bf16(value: ir.Value) -> bool:
    return value.dtype == ir.DataType.BFLOAT16


def _text(key: Key) -> str:
    return key[0] if key[1] <= 0 else f"{_EDITED}{key[1]}.{key[0]}"
