"""Finding the layers of an ONNX graph: torch modules where the exporter left their names, else nodes.

    layers = find_layers(model)
    layers["layer4"].values                 # one value per run of the layer: what leaves its scope
    layers["Conv_3:relu"]                   # of a graph without names (onnx_addresses.py)

A layer that the exporter fused into its neighbour has no value of its own and is not found.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from ganpatch.disk.json_files import parsed_json
from ganpatch.errors import GanpatchError, listed, near_miss
from ganpatch.graph.onnx_addresses import inner_graphs, named_values
from ganpatch.graph.onnx_axes import declared_sizes, has_units_last
from ganpatch.graph.onnx_scopes import SCOPES, is_float, scopes_of

LAYERS = "ganpatch.layers"
LARGEST_SINGLE = 2_000_000_000  # bytes: protobuf holds no more in one file
_AGAIN = re.compile(r"(.+)_(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxLayer:
    """A layer in a graph: one value for each of its runs, in order; `unclear` says why it cannot be edited."""

    name: str
    values: tuple[ir.Value, ...]
    unclear: str = ""

    @property
    def operation(self) -> str:
        """The operation that computes the layer's value."""
        node = self.values[0].producer() if self.values else None
        return node.op_type if node is not None else ""

    @property
    def shape(self) -> tuple[int | None, ...]:
        """The shape of the layer's value, unknown and dynamic sizes as None; () where nothing is known."""
        return declared_sizes(self.values[0], units_last=self.has_units_last) if self.values else ()

    @property
    def has_units_last(self) -> bool:
        """Whether the layer's units are the last axis of its value [N, h, w, C], as in graphs made from TensorFlow."""
        return any(has_units_last(value) for value in self.values)


def find_layers(model: ir.Model) -> dict[str, OnnxLayer]:
    """Find every layer that has a value of its own, in the order of the graph."""
    inside: dict[str, dict[ir.Node, int]] = {}
    for place, node in enumerate(model.graph):
        for scope in scopes_of(node):
            inside.setdefault(scope, {})[node] = place
    outputs = set(model.graph.outputs)
    found = {name: _layer(name, nodes, outputs, inside) for name, nodes in inside.items()}
    found = {name: layer for name, layer in found.items() if layer.values} | dict(_from_map(model, found))
    taken = {value for layer in found.values() if not layer.unclear for value in layer.values}
    named = {name: OnnxLayer(name=name, values=(value,)) for name, value in named_values(model, taken)}
    return found | {name: layer for name, layer in named.items() if name not in found}


def layer_values(model: ir.Model, names: Iterable[str]) -> dict[str, str]:
    """Name, for each of the layers that has one clear value, that value: the map that exported files carry."""
    layers = find_layers(model)
    return {
        name: str(layers[name].values[0].name)
        for name in names
        if name in layers and len(layers[name].values) == 1 and not layers[name].unclear
    }


def find_onnx_layer(model: ir.Model, layers: dict[str, OnnxLayer], name: str) -> OnnxLayer:
    """Return the layer called `name`; raise GanpatchError with the near miss, and say what may have become of it."""
    if name in layers:
        layer = layers[name]
        if layer.unclear:
            raise GanpatchError(f"layer '{name}' cannot be edited in this graph: {layer.unclear}")
        return layer
    if branching := _branching(model):
        raise GanpatchError(
            f"layer '{name}' has no value of its own in this graph; it may be inside the subgraph of "
            f"{branching.op_type} '{branching.name}', which is not patched{near_miss(name, layers)}"
        )
    if model.functions:
        raise GanpatchError(
            f"layer '{name}' not found: the graph keeps modules as functions; inline them first "
            "(onnx.inliner.inline_local_functions)"
        )
    if not any(scopes_of(node) for node in model.graph):
        names = listed([f"'{known}'" for known in layers], 3)
        raise GanpatchError(
            f"layer '{name}' not found: the graph names no modules; its layers are {names}{near_miss(name, layers)}"
        )
    fused = " (an exporter fuses a convolution into the BatchNorm behind it)"
    raise GanpatchError(f"layer '{name}' has no value of its own in this graph{fused}{near_miss(name, layers)}")


Scope = dict[ir.Node, int]  # the nodes of a layer, with their places in the graph


def _layer(name: str, nodes: Scope, outputs: set[ir.Value], inside: dict[str, Scope]) -> OnnxLayer:
    leaving = [
        value
        for node in nodes
        if node.op_type not in ("Constant", "Shape")
        for value in node.outputs
        if is_float(value) and (value in outputs or any(use.node not in nodes for use in value.uses()))
    ]
    return OnnxLayer(name=name, values=tuple(leaving), unclear=_ambiguity(name, nodes, leaving, inside))


def _ambiguity(name: str, nodes: Scope, leaving: Sequence[ir.Value], inside: dict[str, Scope]) -> str:
    """Return why it is not clear which value is the layer's output, or ""."""
    runs = _runs(nodes)
    if len(leaving) > 1 and not (len(runs) == len(leaving) and len({tuple(run) for run in runs}) == 1):
        return f"{len(leaving)} values leave it"
    if len(leaving) == 1 and _weights_used_twice(nodes):
        return "it runs several times in a row, and the graph does not keep the runs apart"
    if any(SCOPES in node.metadata_props for node in nodes):
        return ""
    maker = leaving[0].producer() if leaving else None
    if maker is not None and scopes_of(maker)[-1:] == [name] and _holds_a_norm(maker):
        return "the older exporter folded the normalisation behind it into it"
    again = [scope for scope in inside if (match := _AGAIN.fullmatch(scope)) and match[1] == name]
    borrowed = [scope for scope in again if not _own_weights(inside[scope], scope)]
    return f"'{borrowed[0]}' may be another run of it; the older exporter does not tell" if borrowed else ""


def _runs(nodes: Scope) -> list[list[str]]:
    """Cut a layer's nodes into stretches without other nodes between them; return their operations."""
    runs: list[list[str]] = []
    before = -2
    for node, place in nodes.items():
        if place != before + 1:
            runs.append([])
        runs[-1].append(node.op_type)
        before = place
    return runs


def _weights_used_twice(nodes: Iterable[ir.Node]) -> bool:
    used = [
        (value, node.op_type)  # a weight norm takes its weight in two operations, one layer run twice in the same one
        for node in nodes
        for value in node.inputs
        if value is not None and value.const_value is not None and value.const_value.size > 1 and "." in str(value.name)
    ]
    return len(used) != len(set(used))


def _holds_a_norm(node: ir.Node) -> bool:
    """Return whether the older exporter folded a BatchNorm into a convolution: the bias then has no name of its own."""
    bias = node.inputs[2] if node.op_type == "Conv" and len(node.inputs) > 2 else None
    return bias is not None and str(bias.name).startswith("onnx::")


def _own_weights(nodes: Iterable[ir.Node], scope: str) -> bool:
    names = [str(value.name) for node in nodes for value in node.inputs if value is not None and value.is_initializer()]
    return any(name.startswith(f"{scope}.") for name in names)


def _from_map(model: ir.Model, known: dict[str, OnnxLayer]) -> Iterator[tuple[str, OnnxLayer]]:
    """Find layers by the map that `ganpatch export` wrote, where another tool has stripped the scopes."""
    mapped = parsed_json(model.metadata_props.get(LAYERS) or "{}", f"the metadata {LAYERS}")
    values = {value.name: value for node in model.graph for value in node.outputs}
    for name, value in mapped.items():
        if name not in known and isinstance(value, str) and value in values:
            yield name, OnnxLayer(name=name, values=(values[value],))


def _branching(model: ir.Model) -> ir.Node | None:
    """Return the first node that holds subgraphs: If, Loop or Scan."""
    return next((node for node in model.graph for _ in inner_graphs(node)), None)
