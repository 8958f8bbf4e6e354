"""Editing a value in an ONNX graph: folded into the initialisers that make it where that is exact, else inserted.

    folded = fold(value, terms)             # names of the initialisers that changed, or raises Unfoldable
    insert(value, terms, name="smears")     # Mul, Add, Greater and Where behind the value

The rules are those of `fold/`, in the words of ONNX; a change is made only when all of an edit's changes are found.
"""

from collections.abc import Callable, Container

import numpy as np
import onnx_ir as ir
import torch

from ganpatch.fold.affine import Affine, Unfoldable
from ganpatch.patch.equation import Terms

Changes = dict[ir.Value, Affine]
Rule = Callable[[ir.Node, Affine], Changes]

_PREFIX = "ganpatch."


def fold(value: ir.Value, terms: Terms) -> list[str]:
    """Change initialisers so that `value` comes out edited, for all who read it; give their names."""
    if terms.above is not None:
        raise Unfoldable("'above' depends on the activation, and weights do not")
    changes = _through(value, Affine.of(terms.scale.unsqueeze(0), terms.shift.unsqueeze(0)))
    new = {target: _changed(target, wish) for target, wish in changes.items()}
    for target, array in new.items():
        target.const_value = ir.tensor(array, name=target.name, dtype=target.const_value.dtype)  # type: ignore[union-attr]
    return sorted(str(target.name) for target in new)


def insert(value: ir.Value, terms: Terms, name: str, keeps: Container[ir.Node]) -> ir.Value:
    """Insert the edit behind `value` for all its readers but those in `keeps`; give the new value."""
    node = value.producer()
    assert node is not None
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    dtype = value.dtype or ir.DataType.FLOAT

    def constant(part: str, tensor: torch.Tensor) -> ir.Value:
        array = tensor.unsqueeze(0).numpy().astype(dtype.numpy())
        made = ir.Value(name=f"{_PREFIX}{name}.{part}", const_value=ir.tensor(array, name=f"{_PREFIX}{name}.{part}"))
        graph.register_initializer(made)
        return made

    nodes: list[ir.Node] = []

    def operation(kind: str, *inputs: ir.Value) -> ir.Value:
        made = ir.node(kind, list(inputs), name=f"{_PREFIX}{name}/{kind}")
        made.outputs[0].name = f"{_PREFIX}{name}/{kind}_output"
        made.outputs[0].shape = value.shape
        made.outputs[0].dtype = ir.DataType.BOOL if kind == "Greater" else dtype
        made.metadata_props.update(node.metadata_props)
        nodes.append(made)
        return made.outputs[0]

    readers = [use for use in value.uses() if use.node not in keeps]
    edited = operation("Mul", value, constant("scale", terms.scale))
    if bool((terms.shift != 0).any()):
        edited = operation("Add", edited, constant("shift", terms.shift))
    if terms.above is not None:
        edited = operation("Where", operation("Greater", value, constant("above", terms.above)), edited, value)
    graph.insert_after(node, nodes)
    for use in readers:
        use.node.replace_input_with(use.idx, edited)
    _take_over_output(graph, value, edited)
    return edited


def _take_over_output(graph: ir.Graph, value: ir.Value, edited: ir.Value) -> None:
    """Where the value is an output of the graph, let the edited one be it, under the same name."""
    for place, output in enumerate(graph.outputs):
        if output is value:
            graph.outputs[place] = edited
            edited.name, value.name = value.name, f"{edited.name}.input"


def _through(value: ir.Value, wish: Affine) -> Changes:
    """Push a wish into what makes `value`."""
    if wish.is_nothing:
        return {}
    if value.is_initializer():
        return _granted(value, wish)
    node = value.producer()
    if node is None:
        raise Unfoldable("it would change the graph's input")
    if (node.name or "").startswith(_PREFIX):
        raise Unfoldable("an inserted edit stands before it")
    found = _RULES.get(node.op_type)
    if found is None or node.domain not in ("", "ai.onnx"):
        raise Unfoldable(f"{node.op_type} does not pass it on")
    return found(node, wish)


def _push(value: ir.Value | None, wish: Affine) -> Changes:
    """Push a wish into a value that has one reader and is no output."""
    if wish.is_nothing:
        return {}
    if value is None:
        raise Unfoldable("there is no such input")
    if len(value.uses()) != 1 or value.is_graph_output():
        raise Unfoldable(f"the value '{value.name}' is used {len(value.uses())} times")
    return _through(value, wish)


def _granted(value: ir.Value, wish: Affine) -> Changes:
    tensor = value.const_value
    if tensor is None or value.is_graph_input() or value.is_graph_output():
        raise Unfoldable(f"the initialiser '{value.name}' is an input or output of the graph")
    return {value: wish.on_operand(tuple(tensor.shape.numpy()))}


def _joined(*parts: Changes) -> Changes:
    together: Changes = {}
    for part in parts:
        if together.keys() & part.keys():
            raise Unfoldable("two of its parts would change the same initialiser")
        together |= part
    return together


def _changed(value: ir.Value, wish: Affine) -> np.ndarray:
    assert value.const_value is not None
    stored = value.const_value.numpy()
    new = (torch.from_numpy(stored.astype(np.float64)) * wish.scale + wish.shift).numpy().astype(stored.dtype)
    if not np.isfinite(new).all():
        raise Unfoldable(f"'{value.name}' would not be finite")
    return new


def _zeros(like: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(like)


def _integer(node: ir.Node, name: str, default: int) -> int:
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_int()


def _weights_and_bias(node: ir.Node, weight: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> Changes:
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is None and bool((shift != 0).any()):
        raise Unfoldable(f"{node.op_type} has no bias")
    changed = {} if bias is None else _push(bias, Affine.of(scale, shift))
    return _joined(_push(node.inputs[1], Affine.of(weight, _zeros(weight))), changed)


def _weight_shape(node: ir.Node) -> tuple[int, ...]:
    value = node.inputs[1]
    if value is None or value.const_value is None:
        raise Unfoldable(f"the weight of {node.op_type} is not an initialiser")
    return tuple(value.const_value.shape.numpy())


def _convolution(node: ir.Node, wish: Affine) -> Changes:
    scale, shift = wish.only_over(1, "a convolution's weight")
    return _weights_and_bias(node, scale.view(-1, *[1] * (len(_weight_shape(node)) - 1)), scale, shift)


def _transposed_convolution(node: ir.Node, wish: Affine) -> Changes:
    scale, shift = wish.only_over(1, "a convolution's weight")
    before, after, *kernel = _weight_shape(node)
    groups = _integer(node, "group", 1)
    by_group = scale.expand(groups * after).view(groups, 1, after).expand(groups, before // groups, after)
    return _weights_and_bias(node, by_group.reshape(before, after, *[1] * len(kernel)), scale, shift)


def _gemm(node: ir.Node, wish: Affine) -> Changes:
    scale, shift = wish.only_over(-1, "a linear layer's weight")
    beta = node.attributes["beta"].as_float() if "beta" in node.attributes else 1.0
    weight = scale.view(-1, 1) if _integer(node, "transB", 0) else scale.view(1, -1)
    return _weights_and_bias(node, weight, scale, shift / beta)


def _matrix_product(node: ir.Node, wish: Affine) -> Changes:
    scale, shift = wish.only_over(-1, "a linear layer's weight")
    if bool((shift != 0).any()) or len(_weight_shape(node)) != 2:
        raise Unfoldable("MatMul has no bias")
    return _push(node.inputs[1], Affine.of(scale.view(1, -1), _zeros(scale.view(1, -1))))


def _batch_norm(node: ir.Node, wish: Affine) -> Changes:
    scale, shift = wish.only_over(1, "a normalisation's gain")
    return _joined(
        _push(node.inputs[1], Affine.of(scale, _zeros(scale))), _push(node.inputs[2], Affine.of(scale, shift))
    )


def _rectifier(node: ir.Node, wish: Affine) -> Changes:
    scale, shift = wish.broadcast()
    slope = 0.0
    if node.op_type == "LeakyRelu":
        slope = node.attributes["alpha"].as_float() if "alpha" in node.attributes else 0.01
    if bool(((shift != 0) & (scale != 0)).any()):
        raise Unfoldable(f"{node.op_type} does not pass on a shift")
    if slope <= 0 and bool((shift < 0).any()):
        raise Unfoldable(f"the value is outside what {node.op_type} gives")
    return _push(node.inputs[0], Affine.of(scale, torch.where(shift < 0, shift / slope, shift) if slope > 0 else shift))


def _same(node: ir.Node, wish: Affine) -> Changes:
    return _push(node.inputs[0], wish)


def _resize(node: ir.Node, wish: Affine) -> Changes:
    wish.only_over(1, node.op_type)
    return _push(node.inputs[0], wish)


def _product(node: ir.Node, wish: Affine) -> Changes:
    for value, factor in ((node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])):
        known = _constant(factor)
        if known is not None and bool((known != 0).all()):
            return _push(value, wish.with_shift(wish.shift / known))
    raise Unfoldable("Mul of two values does not pass it on")


def _sum(node: ir.Node, wish: Affine) -> Changes:
    one, other = node.inputs[0], node.inputs[1]
    assert one is not None
    assert other is not None
    for value, term in ((one, other), (other, one)):
        known = _constant(term)
        if known is not None:
            try:
                return _joined(_push(value, wish.scaled_only()), _push(term, wish.on_operand(tuple(known.shape))))
            except Unfoldable:
                return _push(value, wish.with_shift(wish.shift + (wish.scale - 1) * known))
    return _joined(_push(one, wish), _push(other, wish.scaled_only()))


def _constant(value: ir.Value | None) -> torch.Tensor | None:
    if value is None or not value.is_initializer() or value.const_value is None:
        return None
    return torch.from_numpy(value.const_value.numpy().astype(np.float64))


_RULES: dict[str, Rule] = {
    "Conv": _convolution,
    "ConvTranspose": _transposed_convolution,
    "Gemm": _gemm,
    "MatMul": _matrix_product,
    "BatchNormalization": _batch_norm,
    "InstanceNormalization": _batch_norm,
    "Relu": _rectifier,
    "LeakyRelu": _rectifier,
    "Identity": _same,
    "Dropout": _same,
    "Resize": _resize,
    "Mul": _product,
    "Add": _sum,
}
