"""Putting an edit into an ONNX graph as operations: Mul, Add, and Greater and Where for `above`.

Example:

    new = insert(value, terms, name="smears", keeps=inside)     # all other readers of `value` read `new`
"""

from collections.abc import Container

import onnx_ir as ir
from torch import Tensor

from ganpatch.graph.onnx_axes import has_units_last
from ganpatch.graph.onnx_operations import INSERTED
from ganpatch.patch.equation import Terms, equation


def insert(value: ir.Value, terms: Terms, name: str, keeps: Container[ir.Node]) -> ir.Value:
    """Insert the edit behind `value` for all its readers but those in `keeps`; return the new value."""
    node = value.producer()
    assert node is not None
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    readers = [use for use in value.uses() if use.node not in keeps]
    steps = _Inserted(graph, value, name)
    edited = equation(value, terms, steps)
    graph.insert_after(node, steps.nodes)
    for use in readers:
        use.node.replace_input_with(use.idx, edited)
    _take_over_output(graph, value, edited)
    return edited


class _Inserted:
    """The steps of the equation as nodes and initialisers; the nodes are still to be placed in the graph."""

    def __init__(self, graph: ir.Graph, value: ir.Value, name: str) -> None:
        self._graph, self._value, self._name = graph, value, name
        self._dtype = value.dtype or ir.DataType.FLOAT
        self._last = has_units_last(value)
        self.nodes: list[ir.Node] = []

    def affine(self, y: ir.Value, scale: Tensor, shift: Tensor) -> ir.Value:
        scaled = self._node("Mul", y, self._constant("scale", scale))
        return self._node("Add", scaled, self._constant("shift", shift)) if bool((shift != 0).any()) else scaled

    def where_above(self, y: ir.Value, above: Tensor, changed: ir.Value) -> ir.Value:
        return self._node("Where", self._node("Greater", y, self._constant("above", above)), changed, y)

    def _constant(self, part: str, tensor: Tensor) -> ir.Value:
        tensor = tensor.unsqueeze(0).movedim(1, -1) if self._last else tensor.unsqueeze(0)
        array, name = tensor.numpy().astype(self._dtype.numpy()), f"{INSERTED}{self._name}.{part}"
        made = ir.Value(name=name, const_value=ir.tensor(array, name=name))
        self._graph.register_initializer(made)
        return made

    def _node(self, kind: str, *inputs: ir.Value) -> ir.Value:
        node, producer = ir.node(kind, list(inputs), name=f"{INSERTED}{self._name}/{kind}"), self._value.producer()
        assert producer is not None
        node.metadata_props.update(producer.metadata_props)
        output = node.outputs[0]
        output.name, output.shape = f"{node.name}_output", self._value.shape
        output.dtype = ir.DataType.BOOL if kind == "Greater" else self._dtype
        self.nodes.append(node)
        return output


def _take_over_output(graph: ir.Graph, value: ir.Value, edited: ir.Value) -> None:
    """Where the value is an output of the graph, let the edited one be it, under the same name."""
    for place, output in enumerate(graph.outputs):
        if output is value:
            graph.outputs[place] = edited
            edited.name, value.name = value.name, f"{edited.name}.input"
