"""Names for the values of an ONNX graph that no torch module names: the node's own, else its ordinal by kind.

    dict(named_values(model, taken=set()))  # {"Conv_3": value, "Conv_3:relu": value, ...}

`Conv_3` is the fourth Conv of the graph, `Conv_3:relu` the Relu behind it. Only values with units are named: numbers in
floating point that depend on the inputs of the graph. What is not named is counted with the reason.
"""

from collections import Counter
from collections.abc import Container, Iterator

import onnx_ir as ir

from ganpatch.graph.onnx_scopes import is_float, scopes_of

_LONGEST = 200  # characters of a name
_WEIGHTED = {"Conv", "ConvTranspose", "Gemm", "MatMul", "QLinearConv"}
_NORMS = {"BatchNormalization", "InstanceNormalization", "GroupNormalization", "LayerNormalization"}
_ACTIVATIONS = {
    *("Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Celu", "Gelu", "Mish", "HardSwish", "ThresholdedRelu"),
    *("Sigmoid", "HardSigmoid", "Tanh", "Clip", "Softplus", "Softsign"),
}
_FOLLOWING = _NORMS | _ACTIVATIONS
_OF_SIZES = {"Shape", "Size", "Constant", "ConstantOfShape", "NonZero", "Range"}
_MOVING = {
    *("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity", "Dropout", "Cast", "CastLike"),
    *("QuantizeLinear", "DequantizeLinear", "Expand", "Tile"),
}


def named_values(model: ir.Model, taken: Container[ir.Value]) -> Iterator[tuple[str, ir.Value]]:
    """Yield a name for every value with units that is not in `taken`, in the order of the graph.

    In a graph that names torch modules, only what weights, norms and activations compute is named.
    """
    has_modules = any(scopes_of(node) for node in model.graph)
    nodes = list(model.graph)
    live = depending_on_inputs(model)
    uses = Counter(node.name for node in nodes if node.name)
    ordinals: Counter[str] = Counter()
    names: dict[ir.Value, str] = {}  # of nodes without a name of their own
    given: set[str] = set()
    for node in nodes:
        ordinal = f"{node.op_type}_{ordinals[node.op_type]}"
        ordinals[node.op_type] += 1
        own = node_name(node) if uses[node.name or ""] == 1 else ""
        base = own or _behind(node, names, given) or ordinal
        if not own and node.outputs:
            names[node.outputs[0]] = base
        given.add(base)
        if has_modules and node.op_type not in _WEIGHTED | _FOLLOWING:
            continue
        for place, value in enumerate(node.outputs):
            if value not in taken and not reason_against(value, live):
                yield f"{base}:{place}" if place else base, value


def depending_on_inputs(model: ir.Model) -> set[ir.Value]:
    """Return the values that depend on the numbers in the inputs of a graph, not on weights and sizes alone."""
    live = {value for value in model.graph.inputs if not value.is_initializer()}
    for node in model.graph:
        if node.op_type not in _OF_SIZES and any(value in live for value in values_read(node)):
            live.update(node.outputs)
    return live


def values_read(node: ir.Node) -> Iterator[ir.Value]:
    """Yield the values that a node reads, and those that the graphs inside it read from around them."""
    yield from (value for value in node.inputs if value is not None)
    for inner in inner_nodes(node):
        for value in inner.inputs:
            if value is not None and value.graph is node.graph:
                yield value


def inner_nodes(node: ir.Node) -> Iterator[ir.Node]:
    """Yield the nodes of the graphs inside a node, and of those inside them."""
    for graph in inner_graphs(node):
        for inner in graph:
            yield inner
            yield from inner_nodes(inner)


def inner_graphs(node: ir.Node) -> Iterator[ir.Graph]:
    """Yield the graphs inside a node: the bodies of If, Loop and Scan."""
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            yield attribute.as_graph()
        elif attribute.type == ir.AttributeType.GRAPHS:
            yield from attribute.as_graphs()


def reason_against(value: ir.Value, live: Container[ir.Value]) -> str:
    """Return why a value has no units that can be edited, or ""."""
    if not value.name:
        return "unused outputs"
    if not is_float(value):
        return "not floating-point numbers"
    if value not in live:
        return "weights and sizes, the same for every image"
    if value.shape is not None and len(value.shape) < 2:
        return "no units: fewer than two axes"
    if isinstance(value.type, ir.SequenceType | ir.OptionalType):
        return "sequences"
    node = value.producer()
    if node is not None and node.op_type in _MOVING:
        return "moved or converted only (Reshape, Transpose, Cast and the like)"
    return ""


def unaddressed(model: ir.Model, addressed: Container[ir.Value]) -> dict[str, int]:
    """Count the values that no layer of a graph addresses, by reason."""
    live = depending_on_inputs(model)
    counts: Counter[str] = Counter()
    for node in model.graph:
        for value in node.outputs:
            if value not in addressed:
                counts[reason_against(value, live) or "inside a layer, between its inputs and what leaves it"] += 1
        for inner in inner_nodes(node):
            counts[f"inside the body of {node.op_type} '{node.name}'"] += len(inner.outputs)
    return dict(counts)


def node_name(node: ir.Node) -> str:
    """Return a node's name where it can stand in a patch, else ""."""
    name = node.name or ""
    fits = 0 < len(name) <= _LONGEST and name.isprintable() and not any(letter.isspace() for letter in name)
    return name if fits and all(name.split(".")) else ""


def _behind(node: ir.Node, names: dict[ir.Value, str], given: Container[str]) -> str:
    """Name a norm or an activation behind an operation with weights after it: "Conv_3:relu"."""
    first = node.inputs[0] if node.op_type in _FOLLOWING and node.inputs else None
    maker = first.producer() if first is not None else None
    if first not in names or maker is None or maker.op_type not in _WEIGHTED | _FOLLOWING:
        return ""
    name = f"{names[first].partition(':')[0]}:{node.op_type.lower()}"
    return "" if name in given else name
