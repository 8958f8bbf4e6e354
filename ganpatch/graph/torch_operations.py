"""A traced torch module as operations on values.

Example:

    graph = trace(module, args, layers=["layer4"])
    graph.sites                             # [Site(layer="layer4", call=0, output=…)]
"""

import operator
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from ganpatch.graph.operations import Graph, Operation, Site, Value, connect, recognise_gates
from ganpatch.graph.traced_graph import MARK, MOST_CALLS, marked

Inputs = dict[str, Any]  # what an operation reads, by role: nodes and numbers
Described = tuple[str, Inputs, dict[str, Any]]  # kind, inputs, attributes

_SPLITS = ("split", "split_with_sizes", "chunk")


def trace(module: nn.Module, args: tuple[Any, ...], layers: Iterable[str]) -> "TorchGraph":
    """Trace `module` with its `layers` marked; raise GanpatchError when torch.export cannot."""
    named = list(dict.fromkeys(layers))
    return TorchGraph(marked(module, args, named), module.state_dict(), named)


class TorchGraph(Graph):
    """The traced graph, described; parameters that share their storage with another one are not to be changed."""

    def __init__(self, program: torch.export.ExportedProgram, state: Mapping[str, Tensor], layers: list[str]) -> None:
        signature = program.graph_signature
        self._parameters = dict(signature.inputs_to_parameters)
        self._constants: dict[str, Tensor] = {}
        others = {**signature.inputs_to_buffers, **signature.inputs_to_lifted_tensor_constants}
        for placeholder, name in others.items():
            found = program.state_dict.get(name, program.constants.get(name))
            assert isinstance(found, Tensor)
            self._constants[placeholder] = _wide(found)
        self.weights = {name: _wide(program.state_dict[name]) for name in self._parameters.values()}
        self._tied = _tied(state)
        self._values: dict[fx.Node, Value] = {}
        self._sources: dict[Value, Any] = {}  # the node or the number that a value stands for
        self.sites = []
        for node in program.graph.nodes:
            self._describe(node, layers)
        recognise_gates(value.made_by for value in self._sources if value.made_by is not None)

    def weight(self, parameter: str) -> Tensor:
        return self.weights[parameter]

    def set_weight(self, parameter: str, tensor: Tensor) -> None:
        self.weights[parameter] = tensor

    def number(self, value: Value) -> Tensor:
        return torch.as_tensor(self._computed(self._sources[value]), dtype=torch.float64)

    def _computed(self, source: Any) -> Any:
        if isinstance(source, list | tuple):
            return type(source)(self._computed(item) for item in source)
        if not isinstance(source, fx.Node):
            return source
        if source.op == "placeholder":
            name = self._parameters.get(source.name)
            return self._constants[source.name] if name is None else self.weights[name]
        arguments = {name: self._computed(value) for name, value in source.kwargs.items()}
        return source.target(*[self._computed(arg) for arg in source.args], **arguments)  # type: ignore[operator]

    def _describe(self, node: fx.Node, layers: list[str]) -> None:
        if node.op == "placeholder":
            self._values[node] = self._placeholder(node)
        elif node.op == "output":
            for arg, times in Counter(_flat(node)).items():
                self._values[arg].outputs += times
        elif node.target is operator.getitem and operation_name(node) not in _SPLITS and node.args[1] == 0:
            self._values[node] = self._values[node.args[0]]  # type: ignore[index]
            self._sources[self._values[node]] = node
        else:
            self._values[node] = self._operation(node)
        if node.target == MARK:
            number = int(node.args[1])  # type: ignore[arg-type]
            self.sites.append(Site(layers[number // MOST_CALLS], number % MOST_CALLS, self._values[node]))

    def _placeholder(self, node: fx.Node) -> Value:
        name = self._parameters.get(node.name, "")
        fixed = bool(name) or node.name in self._constants
        parameter = "" if name in self._tied else name
        value = Value(name=node.name, shape=_shape(node), parameter=parameter, is_fixed=fixed)
        self._sources[value] = node
        return value

    def _operation(self, node: fx.Node) -> Value:
        read = _flat(node)
        random = "rand" in str(node.target) or node.op != "call_function"
        fixed = not random and all(self._values[arg].is_fixed for arg in read)
        output = Value(name=node.name, shape=_shape(node), is_fixed=fixed)
        self._sources[output] = node
        name = operation_name(node)
        is_part = node.target is operator.getitem
        if name in _SPLITS and not is_part:
            return output  # its parts are described, as slices
        describe = _DESCRIPTIONS.get(name, _unknown) if not is_part else _part if name in _SPLITS else _unknown
        kind, roles, attributes = describe(node)
        inputs = {role: self._input(arg) for role, arg in roles.items() if arg is not None}
        if not is_part:
            left = Counter(read) - Counter(arg for arg in roles.values() if isinstance(arg, fx.Node))
            inputs |= {f"argument{place}": self._values[arg] for place, arg in enumerate(left.elements())}
        place = _module_of(node)
        connect(Operation(kind=kind, name=name, place=place, inputs=inputs, attributes=attributes, output=output))
        return output

    def _input(self, arg: Any) -> Value:
        if isinstance(arg, fx.Node):
            return self._values[arg]
        constant = Value(name=str(arg), shape=(), is_fixed=True)
        self._sources[constant] = arg
        return constant


def operation_name(node: fx.Node) -> str:
    """Name a node's operation as in `torch`: conv2d, add, leaky_relu; a part of a result as what made the result."""
    if node.target is operator.getitem:
        return operation_name(node.args[0])  # type: ignore[arg-type]
    overload = getattr(node.target, "overloadpacket", None)
    return overload.__name__ if overload is not None else str(node.target)


def argument(node: fx.Node, index: int, name: str = "", default: Any = None) -> Any:
    """Return an operation's argument, or its default where the graph leaves it out."""
    return node.args[index] if index < len(node.args) else node.kwargs.get(name, default)


def _named(node: fx.Node, *roles: str) -> Inputs:
    """Return the first arguments of an operation under their roles; "" skips one."""
    return {role: argument(node, place, role) for place, role in enumerate(roles) if role}


def _unknown(_node: fx.Node) -> Described:
    return "", {}, {}


def _of_one_value(kind: str) -> Callable[[fx.Node], Described]:
    return lambda node: (kind, _named(node, "value"), {})


def _convolution(node: fx.Node) -> Described:
    padding = argument(node, 4, "padding", [0])
    padded = padding == "same" or (padding != "valid" and any(padding))
    attributes = {"groups": int(argument(node, 6, "groups", 1)), "is_padded": padded}
    return "convolution", _named(node, "value", "weight", "bias"), attributes


def _transposed_convolution(node: fx.Node) -> Described:
    attributes = {"groups": int(argument(node, 6, "groups", 1)), "is_padded": True}
    return "transposed_convolution", _named(node, "value", "weight", "bias"), attributes


def _linear(node: fx.Node) -> Described:
    return "linear", _named(node, "value", "weight", "bias"), {"rows": 0, "weight_factor": 1.0, "bias_factor": 1.0}


def _batch_norm(node: fx.Node) -> Described:
    is_legit = operation_name(node) == "_native_batch_norm_legit_no_training"
    epsilon = float(argument(node, 6 if is_legit else 7))
    return "batch_norm", _named(node, "value", "gain", "bias", "mean", "variance"), {"epsilon": epsilon}


def _group_norm(node: fx.Node) -> Described:
    groups = [""] if operation_name(node) == "group_norm" else []
    return "unit_norm", _named(node, "value", *groups, "gain", "bias"), {}


def _instance_norm(node: fx.Node) -> Described:
    return "unit_norm", _named(node, "value", "gain", "bias"), {}


def _layer_norm(node: fx.Node) -> Described:
    return "layer_norm", _named(node, "value", "", "gain", "bias"), {}


def _rectifier(node: fx.Node) -> Described:
    slope = 0.0 if operation_name(node) == "relu" else argument(node, 1, default=0.01)
    if isinstance(slope, int | float):
        return "rectifier", _named(node, "value"), {"slope": float(slope)}
    return "rectifier", _named(node, "value", "slope"), {"is_per_unit": True}


def _random_rectifier(node: fx.Node) -> Described:
    """rrelu: in eval mode its slope is fixed, and not among the arguments read here."""
    return "rectifier", _named(node, "value"), {}


def _elu(node: fx.Node) -> Described:
    plain = argument(node, 2, default=1) == 1 and argument(node, 3, default=1) == 1
    return "elu" if plain else "", _named(node, "value"), {"alpha": float(argument(node, 1, default=1))}


def _clamp(node: fx.Node) -> Described:
    low, high = argument(node, 1, "min_val", -1), argument(node, 2, "max_val", 1)
    return "clamp", _named(node, "value"), {"low": float(low), "high": float(high)}


def _sum(node: fx.Node) -> Described:
    sign = -1 if operation_name(node) == "sub" else 1
    return "sum", _named(node, "one", "other"), {"factor": float(argument(node, 2, "alpha", 1)) * sign}


def _reversed_difference(node: fx.Node) -> Described:
    roles = {"one": argument(node, 1), "other": argument(node, 0)}
    return "sum", roles, {"factor": -float(argument(node, 2, "alpha", 1))}


def _quotient(node: fx.Node) -> Described:
    plain = "rounding_mode" not in node.kwargs
    return "quotient" if plain else "", _named(node, "one", "other"), {}


def _gated_halves(node: fx.Node) -> Described:
    return "gated_halves", _named(node, "value"), {"axis": int(argument(node, 1, default=-1))}


def _average(node: fx.Node) -> Described:
    counted = bool(argument(node, 5, "count_include_pad", True))
    return "per_map", _named(node, "value"), {"is_padded": counted and any(argument(node, 3, default=[0]))}


def _mean(node: fx.Node) -> Described:
    axes = argument(node, 1, "dim") or []
    ranks = len(_shape(node) or ())
    inside = bool(axes) and all(axis % ranks >= 2 for axis in axes) and bool(argument(node, 2, "keepdim", False))
    return "per_map" if inside else "", _named(node, "value"), {}


def _constant_padding(node: fx.Node) -> Described:
    return "padding", _named(node, "value"), {"number": float(argument(node, 2, "value") or 0)}


def _padding(node: fx.Node) -> Described:
    if argument(node, 2, "mode", "constant") != "constant":
        return "per_map", _named(node, "value"), {}
    return "padding", _named(node, "value"), {"number": float(argument(node, 3, "value") or 0)}


def _shuffle(node: fx.Node) -> Described:
    return operation_name(node), _named(node, "value"), {"factor": int(argument(node, 1))}


def _permute(node: fx.Node) -> Described:
    ranks = len(_shape(node) or ())
    order = list(range(ranks))
    if operation_name(node) == "permute":
        order = [int(axis) % ranks for axis in argument(node, 1)]
    else:
        one, other = (int(argument(node, place, default=place - 1)) for place in (1, 2))
        order[one], order[other] = order[other], order[one]
    return "permute", _named(node, "value"), {"order": order}


def _concatenation(node: fx.Node) -> Described:
    parts = {f"part{place}": part for place, part in enumerate(argument(node, 0))}
    return "concatenation", parts, {"axis": int(argument(node, 1, "dim", 0))}


def _slice(node: fx.Node) -> Described:
    whole = _shape(argument(node, 0)) or ()
    axis = int(argument(node, 1, default=0)) % len(whole)
    start, stop, step = slice(argument(node, 2), argument(node, 3), argument(node, 4)).indices(whole[axis])
    return "slice" if step == 1 else "", _named(node, "value"), {"axis": axis, "start": start, "stop": stop}


def _part(node: fx.Node) -> Described:
    """One part taken out of a split, as a slice of the whole."""
    split, place = argument(node, 0), int(argument(node, 1))
    shapes = [part.shape for part in split.meta["val"]]
    axis = int(argument(split, 2, "dim", 0)) % len(shapes[0])
    start = sum(int(shape[axis]) for shape in shapes[:place])
    attributes = {"axis": axis, "start": start, "stop": start + int(shapes[place][axis])}
    return "slice", {"value": argument(split, 0)}, attributes


def _shape(node: fx.Node) -> tuple[int, ...] | None:
    """Return the shape of a node's value, of its first result where it has several; None for what is no tensor."""
    found = node.meta.get("val")
    if isinstance(found, list | tuple) and found:
        found = found[0]
    return tuple(int(size) for size in found.shape) if isinstance(found, Tensor) else None


def _module_of(node: fx.Node) -> str:
    """Name the innermost module that a node belongs to, "" for the root, for messages."""
    stack = node.meta.get("nn_module_stack") or {}
    return str(list(stack.values())[-1][0]) if stack else ""


def _flat(node: fx.Node) -> list[fx.Node]:
    """List the values that a node reads, one that it reads twice twice."""
    found: list[fx.Node] = []
    fx.map_arg((node.args, node.kwargs), found.append)
    return found


def _wide(tensor: Tensor) -> Tensor:
    detached = tensor.detach().cpu()
    return detached.double() if detached.is_floating_point() else detached


def _tied(state: Mapping[str, Tensor]) -> set[str]:
    """Find tensors that share their storage with another one."""
    owners: dict[int, list[str]] = {}
    for name, tensor in state.items():
        if tensor.numel():
            owners.setdefault(tensor.untyped_storage().data_ptr(), []).append(name)
    return {name for shared in owners.values() if len(shared) > 1 for name in shared}


_UNCHANGED = "clone alias _to_copy detach contiguous lift_fresh_copy dropout feature_dropout"
_PER_MAP = (
    "upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact2d upsample_bilinear2d "
    "upsample_bicubic2d adaptive_avg_pool2d max_pool2d max_pool2d_with_indices reflection_pad2d replication_pad2d "
    "roll flip"
)
_RESHAPES = "view reshape _unsafe_view flatten unflatten squeeze unsqueeze"


_DESCRIPTIONS: dict[str, Callable[[fx.Node], Described]] = {
    **{name: _of_one_value(name) for name in ("tanh", "sigmoid", "softplus", "exp", "erf")},
    **dict.fromkeys(("silu", "gelu", "mish", "hardswish"), _of_one_value("self_gated")),
    **dict.fromkeys(_UNCHANGED.split(), _of_one_value("identity")),
    **dict.fromkeys(_PER_MAP.split(), _of_one_value("per_map")),
    **dict.fromkeys(_RESHAPES.split(), _of_one_value("reshape")),
    **dict.fromkeys(("expand", "repeat"), _of_one_value("expand")),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _transposed_convolution),
    **dict.fromkeys(("_native_batch_norm_legit_no_training", "batch_norm"), _batch_norm),
    **dict.fromkeys(("group_norm", "native_group_norm"), _group_norm),
    **dict.fromkeys(("instance_norm", "_native_batch_norm_legit"), _instance_norm),
    **dict.fromkeys(("layer_norm", "native_layer_norm"), _layer_norm),
    **dict.fromkeys(("relu", "leaky_relu", "prelu"), _rectifier),
    **dict.fromkeys(("add", "sub"), _sum),
    **dict.fromkeys(("pixel_shuffle", "pixel_unshuffle"), _shuffle),
    **dict.fromkeys(("permute", "transpose", "t"), _permute),
    "mark": _of_one_value("mark"),
    "neg": _of_one_value("negation"),
    "linear": _linear,
    "rrelu_with_noise_functional": _random_rectifier,
    "elu": _elu,
    "hardtanh": _clamp,
    "mul": lambda node: ("product", _named(node, "one", "other"), {}),
    "rsub": _reversed_difference,
    "div": _quotient,
    "glu": _gated_halves,
    "avg_pool2d": _average,
    "mean": _mean,
    "constant_pad_nd": _constant_padding,
    "pad": _padding,
    "cat": _concatenation,
    "slice": _slice,
}
