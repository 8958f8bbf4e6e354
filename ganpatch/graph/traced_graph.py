"""A generator as a graph: its operations, where in it a layer's output stands, and which parameters feed it.

    graph = trace(module, args, kwargs, layers=["layer4"])
    graph.sites                             # [Site(layer="layer4", call=0, node=mark)]

`torch.export` gives the graph. A small marking operation, set by a hook on every wanted layer, stands in it exactly
where the hook of an edit would stand, once for every run of the layer.
"""

import inspect
import operator
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from ganpatch.errors import GanpatchError, explained
from ganpatch.generator.layers import hooked, tensor_of, with_tensor
from ganpatch.graph.grouped_convolutions import Unfused

_MOST_CALLS = 1_000_000


@torch.library.custom_op("ganpatch::mark", mutates_args=())
def mark(y: Tensor, site: int) -> Tensor:  # noqa: ARG001 - the number is read from the graph
    """Mark the output of a layer in a traced graph; the value itself passes unchanged."""
    return y.clone()


@mark.register_fake
def _mark_traced(y: Tensor, site: int) -> Tensor:  # noqa: ARG001 - the signature is the operation's
    return torch.empty_like(y)


MARK = torch.ops.ganpatch.mark.default


@dataclass(frozen=True, slots=True)
class Site:
    """One run of a layer in the graph; `node` gives the layer's output."""

    layer: str
    call: int
    node: fx.Node


class Graph:
    """The traced graph, with the values of its parameters in float64; only `weights` ever changes."""

    def __init__(self, program: torch.export.ExportedProgram, state: Mapping[str, Tensor], layers: list[str]) -> None:
        signature = program.graph_signature
        names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        self._parameters = signature.inputs_to_parameters
        self._constants: dict[str, Tensor] = {}
        for placeholder, name in {**names, **signature.inputs_to_lifted_tensor_constants}.items():
            found = program.state_dict.get(name, program.constants.get(name))
            assert isinstance(found, Tensor)
            if placeholder not in self._parameters:
                self._constants[placeholder] = _wide(found)
        self.weights = {name: _wide(program.state_dict[name]) for name in self._parameters.values()}
        self._tied = _tied(state)
        self.sites = [
            Site(layers[number // _MOST_CALLS], number % _MOST_CALLS, node)
            for node in program.graph.nodes
            if node.target == MARK
            for number in [int(node.args[1])]
        ]
        self.site_of = {site.node: site for site in self.sites}

    def parameter(self, node: fx.Node) -> str | None:
        """Return the name of the parameter that `node` is, if its tensor is used under no other name."""
        name = self._parameters.get(node.name)
        return None if name is None or name in self._tied else name

    def is_fixed(self, node: Any) -> bool:
        """Return whether a value depends on parameters and constants alone."""
        if not isinstance(node, fx.Node):
            return True
        if node.op == "placeholder":
            return node.name in self._parameters or node.name in self._constants
        return node.op == "call_function" and all(self.is_fixed(arg) for arg in node.all_input_nodes)

    def value(self, node: Any) -> Any:
        """Compute a fixed value from the weights as they are now, in float64."""
        if isinstance(node, list | tuple):
            return type(node)(self.value(item) for item in node)
        if not isinstance(node, fx.Node):
            return node
        if node.op == "placeholder":
            name = self._parameters.get(node.name)
            return self._constants[node.name] if name is None else self.weights[name]
        arguments = {name: self.value(value) for name, value in node.kwargs.items()}
        return node.target(*[self.value(arg) for arg in node.args], **arguments)  # type: ignore[operator]


def trace(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], layers: Iterable[str]) -> Graph:
    """Trace `module` with its `layers` marked; raise GanpatchError when torch.export cannot."""
    named = list(dict.fromkeys(layers))
    return Graph(marked(module, args, kwargs, named), module.state_dict(), named)


def marked(
    module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], layers: list[str], shapes: Any = None
) -> torch.export.ExportedProgram:
    """Export `module`, functional, with a mark after every run of `layers`; raise GanpatchError when torch cannot."""

    def marking(index: int) -> Callable[[Any, int], Any]:
        def on_output(output: Any, call: int) -> Any:
            tensor = tensor_of(output)
            if tensor is None:
                raise GanpatchError(f"layer '{layers[index]}' gives a {type(output).__name__} without a tensor")
            return with_tensor(output, mark(tensor, index * _MOST_CALLS + call))

        return on_output

    with hooked(module, {layer: marking(index) for index, layer in enumerate(layers)}):
        return exported(module, args, kwargs, shapes, decomposed=True)


def dynamic_batch(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Say to torch.export that the first size of every argument is dynamic."""
    shapes = tuple({0: torch.export.Dim("batch")} for _ in args)
    first = next(iter(inspect.signature(module.forward).parameters.values()))
    return (shapes,) if first.kind is inspect.Parameter.VAR_POSITIONAL else shapes  # forward(*args) of a loaded .pt2


def exported(
    module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], shapes: Any = None, *, decomposed: bool = False
) -> torch.export.ExportedProgram:
    """Export `module`, with `shapes` dynamic; raise GanpatchError when torch.export cannot."""
    refused = explained(f"torch.export cannot trace {type(module).__name__}")
    with refused, warnings.catch_warnings(), torch.no_grad(), Unfused():
        warnings.simplefilter("ignore")  # torch's, of its own deprecations
        program = torch.export.export(module, args, dict(kwargs), dynamic_shapes=shapes)
        return program.run_decompositions({}) if decomposed else program


def argument(node: fx.Node, index: int, name: str = "", default: Any = None) -> Any:
    """Return an operation's argument, or its default where the graph leaves it out."""
    return node.args[index] if index < len(node.args) else node.kwargs.get(name, default)


def shape(node: fx.Node) -> tuple[int, ...]:
    """Return the shape of a node's value."""
    return tuple(int(size) for size in node.meta["val"].shape)


def module_of(node: fx.Node) -> str:
    """Name the innermost module that a node belongs to, "" for the root, for messages."""
    stack = node.meta.get("nn_module_stack") or {}
    return str(list(stack.values())[-1][0]) if stack else ""


def operation(node: fx.Node) -> str:
    """Name a node's operation as in `torch`: conv2d, add, leaky_relu."""
    if node.target is operator.getitem:
        return operation(node.args[0])  # type: ignore[arg-type]
    overload = getattr(node.target, "overloadpacket", None)
    return overload.__name__ if overload is not None else str(node.target)


def uses(node: fx.Node) -> int:
    """Count how often a node's value is used, twice when one operation takes it twice."""
    return sum(sum(arg is node for arg in _flat(user)) for user in node.users)


def _flat(node: fx.Node) -> list[Any]:
    found: list[Any] = []
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
