"""What each operation of ONNX is, in the words of `operations`.

    for kind, roles, attributes in described(node, measured):       # one per output of the node
        ...

What says how an operation works, such as the bounds of a Slice, may be computed in the graph from sizes; it was
measured in a run of the graph.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from ganpatch.graph.onnx_scopes import is_float

Roles = dict[str, ir.Value]
Described = tuple[str, Roles, dict[str, Any]]  # kind, inputs by role, attributes
Description = Callable[[ir.Node, "Measured"], Described]

_MOST_INTEGERS = 64
_UNKNOWN: Described = ("", {}, {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one run of a graph found out about its values, by name: their shapes, and short lists of integers."""

    shapes: Mapping[str, tuple[int, ...]]
    integers: Mapping[str, tuple[int, ...]]

    def shape(self, value: ir.Value) -> tuple[int, ...] | None:
        """Return the shape of a value for one batch, None where it is not known."""
        constant = constant_of(value)
        return tuple(constant.shape.numpy()) if constant is not None else self.shapes.get(value.name or "")

    def integers_of(self, node: ir.Node, place: int, attribute: str) -> tuple[int, ...] | None:
        """Return integers that an input holds, or in older opsets an attribute; None where they are not known."""
        if attribute in node.attributes:
            return tuple(node.attributes[attribute].as_ints())
        value = input_of(node, place)
        constant = None if value is None else constant_of(value)
        if constant is not None and constant.size <= _MOST_INTEGERS:
            return tuple(int(number) for number in constant.numpy().reshape(-1))
        return None if value is None else self.integers.get(value.name or "")


def described(node: ir.Node, measured: Measured) -> list[Described]:
    """Describe what makes each output of a node; side results are of no kind."""
    if node.domain not in ("", "ai.onnx"):
        parts = [_UNKNOWN]
    elif node.op_type == "Split":
        parts = _split(node, measured)
    else:
        parts = [_DESCRIPTIONS.get(node.op_type, _unknown)(node, measured)]
    if node.op_type in ("Shape", "Size"):  # how large a value is does not depend on what it holds
        return [_UNKNOWN] * len(node.outputs)
    if len(parts) < len(node.outputs):
        parts += [_UNKNOWN] * (len(node.outputs) - len(parts))
    read = [value for value in node.inputs if value is not None and is_float(value)]
    kind, roles, attributes = parts[0]
    for value in roles.values():
        if value in read:
            read.remove(value)
    others = {f"argument{place}": value for place, value in enumerate(read)}
    return [(kind, {**roles, **others}, attributes), *parts[1:]]


def controlling_inputs(node: ir.Node) -> list[ir.Value]:
    """Return the inputs that say how a node works and have to be measured where the graph computes them."""
    places = _CONTROLS.get(node.op_type, ())
    found = [input_of(node, place) for place in places]
    return [value for value in found if value is not None and constant_of(value) is None]


def constant_of(value: ir.Value) -> ir.TensorProtocol | None:
    """Return the tensor that the file holds for a value: an initialiser or a Constant node; None for others."""
    try:
        return ir.convenience.get_const_tensor(value)
    except ValueError:  # sparse or text
        return None


def input_of(node: ir.Node, place: int) -> ir.Value | None:
    """Return an input of a node, None where it is left out."""
    return node.inputs[place] if place < len(node.inputs) else None


def _named(node: ir.Node, *roles: str) -> Roles:
    """Return the first inputs of a node under their roles."""
    found = {role: input_of(node, place) for place, role in enumerate(roles)}
    return {role: value for role, value in found.items() if value is not None}


def _integer(node: ir.Node, name: str, default: int) -> int:
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_int()


def _number(node: ir.Node, name: str, default: float) -> float:
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_float()


def _text(node: ir.Node, name: str, default: str) -> str:
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_string()


def _unknown(_node: ir.Node, _measured: Measured) -> Described:
    return _UNKNOWN


def _of_one_value(kind: str) -> Description:
    return lambda node, _measured: (kind, _named(node, "value"), {})


def _is_padded(node: ir.Node) -> bool:
    pads = node.attributes.get("pads")
    return _text(node, "auto_pad", "NOTSET").startswith("SAME") or (pads is not None and any(pads.as_ints()))


def _convolution(node: ir.Node, _measured: Measured) -> Described:
    kind = "convolution" if node.op_type == "Conv" else "transposed_convolution"
    attributes = {"groups": _integer(node, "group", 1), "is_padded": _is_padded(node)}
    return kind, _named(node, "value", "weight", "bias"), attributes


def _gemm(node: ir.Node, _measured: Measured) -> Described:
    attributes = {
        "rows": 0 if _integer(node, "transB", 0) else 1,
        "weight_factor": _number(node, "alpha", 1.0),
        "bias_factor": _number(node, "beta", 1.0),
    }
    kind = "" if _integer(node, "transA", 0) or attributes["bias_factor"] == 0 else "linear"
    return kind, _named(node, "value", "weight", "bias"), attributes


def _matrix_product(node: ir.Node, measured: Measured) -> Described:
    weight = input_of(node, 1)
    if weight is None or len(measured.shape(weight) or ()) != 2 or len(measured.shape(node.inputs[0]) or ()) < 2:  # type: ignore[arg-type]
        return _UNKNOWN
    return "linear", _named(node, "value", "weight"), {"rows": 1, "weight_factor": 1.0, "bias_factor": 1.0}


def _batch_norm(node: ir.Node, _measured: Measured) -> Described:
    kind = "" if _integer(node, "training_mode", 0) else "batch_norm"
    epsilon = {"epsilon": _number(node, "epsilon", 1e-5)}
    return kind, _named(node, "value", "gain", "bias", "mean", "variance"), epsilon


def _unit_norm(node: ir.Node, measured: Measured) -> Described:
    roles = _named(node, "value", "gain", "bias")
    units, gains = measured.shape(roles["value"]), measured.shape(roles["gain"])
    per_unit = units is not None and len(units) > 1 and gains == (units[1],)  # GroupNormalization 18: one per group
    return "unit_norm" if per_unit else "", roles, {}


def _rectifier(node: ir.Node, _measured: Measured) -> Described:
    if node.op_type == "PRelu":
        return "rectifier", _named(node, "value", "slope"), {}
    slope = _number(node, "alpha", 0.01) if node.op_type == "LeakyRelu" else 0.0
    return "rectifier", _named(node, "value"), {"slope": slope}


def _elu(node: ir.Node, _measured: Measured) -> Described:
    return "elu", _named(node, "value"), {"alpha": _number(node, "alpha", 1.0)}


def _clip(node: ir.Node, _measured: Measured) -> Described:
    ends = []
    for place, name in ((1, "min"), (2, "max")):
        value = input_of(node, place)
        constant = None if value is None else constant_of(value)
        if value is not None and constant is None:
            return _UNKNOWN
        otherwise = _number(node, name, -float("inf") if name == "min" else float("inf"))
        ends.append(otherwise if constant is None else float(constant.numpy()))
    return "clamp", {"value": node.inputs[0]}, {"low": ends[0], "high": ends[1]}  # type: ignore[dict-item]


def _dropout(node: ir.Node, _measured: Measured) -> Described:
    value = input_of(node, 2)
    training = None if value is None else constant_of(value)
    plain = value is None or (training is not None and not bool(training.numpy()))
    return "identity" if plain else "", _named(node, "value"), {}


def _cast(node: ir.Node, _measured: Measured) -> Described:
    plain = all(
        value is not None and value.dtype is not None and is_float(value) for value in (*node.inputs, *node.outputs)
    )
    return "identity" if plain else "", _named(node, "value"), {}


def _two_terms(node: ir.Node, _measured: Measured) -> Described:
    if len(node.inputs) != 2:
        return _UNKNOWN
    return "sum", _named(node, "one", "other"), {"factor": -1.0 if node.op_type == "Sub" else 1.0}


def _two_factors(kind: str) -> Description:
    return lambda node, _measured: (kind, _named(node, "one", "other"), {})


def _resize(node: ir.Node, _measured: Measured) -> Described:
    cut_out = _text(node, "coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize"
    return "" if cut_out else "per_map", _named(node, "value"), {}


def _average(node: ir.Node, _measured: Measured) -> Described:
    return (
        "per_map",
        _named(node, "value"),
        {"is_padded": bool(_integer(node, "count_include_pad", 0)) and _is_padded(node)},
    )


def _reduction(node: ir.Node, measured: Measured) -> Described:
    shape, axes = measured.shape(node.inputs[0]), measured.integers_of(node, 1, "axes")  # type: ignore[arg-type]
    inside = bool(shape and axes) and all(axis % len(shape or ()) >= 2 for axis in axes or ())
    return "per_map" if inside and _integer(node, "keepdims", 1) else "", _named(node, "value"), {}


def _pad(node: ir.Node, _measured: Measured) -> Described:
    if _text(node, "mode", "constant") != "constant":
        return "per_map", _named(node, "value"), {}
    value = input_of(node, 2)
    constant = None if value is None else constant_of(value)
    if value is not None and constant is None:
        return _UNKNOWN
    number = _number(node, "value", 0.0) if constant is None else float(constant.numpy())
    return "padding", _named(node, "value"), {"number": number}


def _depth_to_space(node: ir.Node, _measured: Measured) -> Described:
    kind = "pixel_shuffle" if _text(node, "mode", "DCR") == "CRD" else ""
    return kind, _named(node, "value"), {"factor": _integer(node, "blocksize", 1)}


def _transpose(node: ir.Node, measured: Measured) -> Described:
    rank = len(measured.shape(node.inputs[0]) or ())  # type: ignore[arg-type]
    order = node.attributes["perm"].as_ints() if "perm" in node.attributes else range(rank)[::-1]
    return "permute" if rank else "", _named(node, "value"), {"order": [axis % rank for axis in order] if rank else []}


def _concatenation(node: ir.Node, _measured: Measured) -> Described:
    parts = {f"part{place}": value for place, value in enumerate(node.inputs) if value is not None}
    return "concatenation", parts, {"axis": _integer(node, "axis", 1)}


def _slice(node: ir.Node, measured: Measured) -> Described:
    """A slice along one axis; whole axes may be listed too."""
    whole = measured.shape(node.inputs[0])  # type: ignore[arg-type]
    starts, stops = measured.integers_of(node, 1, "starts"), measured.integers_of(node, 2, "ends")
    axes = measured.integers_of(node, 3, "axes") or tuple(range(len(starts or ())))
    steps = measured.integers_of(node, 4, "steps") or (1,) * len(axes)
    if not whole or starts is None or stops is None or not len(starts) == len(stops) == len(axes) == len(steps):
        return _UNKNOWN
    cuts = []
    for start, stop, axis, step in zip(starts, stops, axes, steps, strict=True):
        if step == 0 or not -len(whole) <= axis < len(whole):
            return _UNKNOWN
        bounds = slice(start, stop, step).indices(whole[axis])
        if bounds != (0, whole[axis], 1):
            cuts.append((axis % len(whole), *bounds))
    if not cuts:
        return "identity", _named(node, "value"), {}
    axis, start, stop, step = cuts[0]
    kind = "slice" if len(cuts) == 1 and step == 1 else ""
    return kind, _named(node, "value"), {"axis": axis, "start": start, "stop": stop}


def _split(node: ir.Node, measured: Measured) -> list[Described]:
    """Describe every part as a slice of the whole."""
    whole, axis = node.inputs[0], _integer(node, "axis", 0)
    shapes = [measured.shape(value) for value in node.outputs]
    if whole is None or any(shape is None for shape in shapes):
        return [_UNKNOWN]
    parts: list[Described] = []
    start = 0
    for shape in shapes:
        assert shape is not None
        place = axis % len(shape)
        parts.append(("slice", {"value": whole}, {"axis": place, "start": start, "stop": start + shape[place]}))
        start += shape[place]
    return parts


_CONTROLS = {"Slice": (1, 2, 3, 4), "ReduceMean": (1,), "ReduceMax": (1,)}
_DESCRIPTIONS: dict[str, Description] = {
    **{name: _of_one_value(name.lower()) for name in ("Tanh", "Sigmoid", "Softplus", "Exp", "Erf")},
    **dict.fromkeys(("Gelu", "Mish", "HardSwish"), _of_one_value("self_gated")),
    **dict.fromkeys(("Conv", "ConvTranspose"), _convolution),
    **dict.fromkeys(("Relu", "LeakyRelu", "PRelu"), _rectifier),
    **dict.fromkeys(("InstanceNormalization", "GroupNormalization"), _unit_norm),
    **dict.fromkeys(("Add", "Sub", "Sum"), _two_terms),
    **dict.fromkeys(("Resize", "Upsample"), _resize),
    **dict.fromkeys(("MaxPool", "GlobalAveragePool", "GlobalMaxPool"), _of_one_value("per_map")),
    **dict.fromkeys(("ReduceMean", "ReduceMax"), _reduction),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _of_one_value("reshape")),
    **dict.fromkeys(("Expand", "Tile"), _of_one_value("expand")),
    "Gemm": _gemm,
    "MatMul": _matrix_product,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": lambda node, _measured: ("layer_norm", _named(node, "value", "gain", "bias"), {}),
    "Elu": _elu,
    "Clip": _clip,
    "Identity": _of_one_value("identity"),
    "Dropout": _dropout,
    "Cast": _cast,
    "Neg": _of_one_value("negation"),
    "Mul": _two_factors("product"),
    "Div": _two_factors("quotient"),
    "AveragePool": _average,
    "Pad": _pad,
    "DepthToSpace": _depth_to_space,
    "Transpose": _transpose,
    "Concat": _concatenation,
    "Slice": _slice,
}
