"""An ONNX graph as operations on values.

    graph = OnnxGraph(model, measured, sites)
    graph.weight("layer4.conv.weight")      # [O, I, kh, kw], float64
    graph.commit(changed)                   # writes changed parameters into the model

Initialisers and Constant nodes are parameters; like every value, one that several operations read is never changed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor

from ganpatch.graph.onnx_descriptions import Measured, constant_of, described
from ganpatch.graph.onnx_scopes import is_float, scopes_of
from ganpatch.graph.operations import Graph, Operation, Site, Value, connect, recognise_gates

INSERTED = "ganpatch."  # before the names of all nodes and initialisers that an edit is inserted as
_EVALUATED = {"sum", "product", "quotient", "negation", "identity", "mark", "reshape", "permute", "expand"}
_LARGEST_FIXED = 1 << 27  # elements: larger values are not computed


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxSite:
    """One run of a layer in a graph: the value that leaves it."""

    layer: str
    call: int
    value: ir.Value


class OnnxGraph(Graph):
    """The graph, described, with a mark behind every site; what is inside the layer reads the value before it."""

    def __init__(self, model: ir.Model, measured: Measured, sites: Sequence[OnnxSite]) -> None:
        self._measured = measured
        self._stored: dict[str, ir.Value] = {}  # parameters
        self._changed: dict[str, Tensor] = {}
        self._values: dict[ir.Value, Value] = {}
        self._marks: dict[ir.Value, list[tuple[str, Value]]] = {}
        self._to_mark: dict[ir.Value, list[OnnxSite]] = {}
        for site in sorted(sites, key=lambda site: -len(site.layer)):  # of layers that share a value, the inner first
            self._to_mark.setdefault(site.value, []).append(site)
        self.sites = []
        for value in [*model.graph.inputs, *model.graph.initializers.values()]:
            self._enter(value)
        for node in model.graph:
            self._describe(node)
        for value in list(self._values):
            self._finish(value, model.graph)
        recognise_gates(value.made_by for value in self._values.values() if value.made_by is not None)

    def weight(self, parameter: str) -> Tensor:
        return self._changed[parameter] if parameter in self._changed else _wide(self._stored[parameter])

    def set_weight(self, parameter: str, tensor: Tensor) -> None:
        self._changed[parameter] = tensor

    def fits(self, parameter: str, tensor: Tensor) -> bool:
        return bool(np.isfinite(_narrow(self._stored[parameter], tensor).astype(np.float64)).all())

    def number(self, value: Value) -> Tensor:
        if value.made_by is None:
            return self.weight(value.name)
        return _evaluated(value.made_by, {role: self.number(own) for role, own in value.made_by.inputs.items()})

    def commit(self, changed: Mapping[str, Tensor]) -> None:
        """Write parameters into the model, each in its own type."""
        for name, tensor in changed.items():
            value = self._stored[name]
            new = ir.tensor(_narrow(value, tensor), name=name, dtype=_constant(value).dtype)
            node = value.producer()
            if node is None:
                value.const_value = new
            else:
                node.attributes.clear()
                node.attributes.add(ir.AttrTensor("value", new))

    def _enter(self, value: ir.Value) -> Value:
        """Describe a value without what makes it; one whose content the file holds is a parameter."""
        name = value.name or ""
        entered = Value(name=name, shape=self._measured.shape(value))
        if constant_of(value) is not None and is_float(value) and not value.is_graph_input():
            entered.is_fixed = True
            entered.parameter = "" if value.is_graph_output() else name
            self._stored[name] = value
        self._values[value] = entered
        return entered

    def _describe(self, node: ir.Node) -> None:
        outputs = [self._enter(value) for value in node.outputs]
        if node.op_type != "Constant":
            for output, (kind, roles, attributes) in zip(outputs, described(node, self._measured), strict=True):
                inputs = {role: self._seen(value, node) for role, value in roles.items()}
                operation = Operation(kind=kind, name=node.op_type, inputs=inputs, attributes=attributes, output=output)
                operation.place = (scopes_of(node) or [""])[-1]
                if (node.name or "").startswith(INSERTED):  # of an earlier patch, which keeps its own parameters
                    operation.kind, operation.name = "", "an inserted edit"
                connect(operation)
                output.is_fixed = _can_evaluate(operation)
        for value in node.outputs:
            self._mark(value)

    def _mark(self, value: ir.Value) -> None:
        seen = self._values[value]
        for site in self._to_mark.get(value, ()):
            output = Value(name=seen.name, shape=seen.shape, is_fixed=seen.is_fixed)
            connect(Operation(kind="mark", name="mark", place=site.layer, inputs={"value": seen}, output=output))
            self._marks.setdefault(value, []).append((site.layer, output))
            self.sites.append(Site(site.layer, site.call, output))
            seen = output

    def _seen(self, value: ir.Value, reader: ir.Node) -> Value:
        """Return what `reader` reads of a value: what leaves the outermost layer that it does not belong to."""
        seen = self._values.get(value) or Value(name=value.name or "", shape=None)  # None: the graph is not sorted
        scopes = scopes_of(reader)
        for layer, output in self._marks.get(value, ()):
            if layer in scopes:
                break
            seen = output
        return seen

    def _finish(self, value: ir.Value, graph: ir.Graph) -> None:
        """Count what leaves the graph, and what subgraphs read."""
        last = self._marks[value][-1][1] if value in self._marks else self._values[value]
        last.outputs += value.is_graph_output()
        for use in value.uses():
            if use.node.graph is not graph:
                branch = Operation(kind="", name=f"{use.node.op_type} of a subgraph", output=last)
                self._seen(value, use.node).readers.append(branch)


def _can_evaluate(operation: Operation) -> bool:
    """Return whether a value can be computed from parameters without running the graph."""
    shape = operation.output.shape
    small = shape is not None and math.prod(shape) <= _LARGEST_FIXED
    return small and operation.kind in _EVALUATED and all(value.is_fixed for value in operation.inputs.values())


def _evaluated(operation: Operation, inputs: Mapping[str, Tensor]) -> Tensor:
    """Compute an operation of the kinds in _EVALUATED."""
    shape = operation.output.shape
    assert shape is not None
    first = next(iter(inputs.values()))
    axes: list[int] = operation.attributes.get("order", [])
    factor: float = operation.attributes.get("factor", 1.0)
    match operation.kind:
        case "sum":
            return first + factor * inputs["other"]
        case "product":
            return first * inputs["other"]
        case "quotient":
            return first / inputs["other"]
        case "negation":
            return -first
        case "permute":
            return first.permute(axes)
        case "expand":
            return first.broadcast_to(shape)
        case _:
            return first.reshape(shape)


def _constant(value: ir.Value) -> ir.TensorProtocol:
    """Return the tensor that a value is."""
    found = constant_of(value)
    assert found is not None
    return found


def _wide(value: ir.Value) -> Tensor:
    return torch.from_numpy(_constant(value).numpy().astype(np.float64))


def _narrow(value: ir.Value, tensor: Tensor) -> np.ndarray:
    with np.errstate(over="ignore"):
        return tensor.numpy().astype(_constant(value).numpy().dtype)
