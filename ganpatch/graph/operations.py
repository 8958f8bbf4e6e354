"""A model as operations on values: one small description for a traced torch graph and for an ONNX graph.

    graph = trace(module, args, ["layer4"])      # or OnnxGraph(model, …)
    site = graph.sites[0]                            # where the output of layer4 is
    site.output.readers[0].kind                      # "convolution"

`torch_operations` and `onnx_operations` build it; the rules of `ganpatch.fold` are written over it alone. An operation
has a kind, inputs by role, and attributes that are plain numbers:

    kind                                    inputs                              attributes
    convolution, transposed_convolution     value, weight, bias                 groups, is_padded (with zeros)
    linear                                  value, weight, bias                 rows (axis of the weight that the output
                                                                                has), weight_factor, bias_factor
    batch_norm                              value, gain, bias, mean, variance   epsilon
    unit_norm (group, instance)             value, gain, bias
    layer_norm                              value, gain, bias
    rectifier                               value, slope (PReLU)                slope (of negative values), is_per_unit
    tanh, sigmoid, softplus, exp, elu,      value                               alpha (elu); low, high (clamp)
    clamp
    self_gated (silu, gelu, mish)           value
    erf                                     value
    identity, mark, negation                value
    sum                                     one, other                          factor (of the other)
    product, quotient                       one, other
    gated_halves (glu)                      value                               axis
    per_map (resampling, pooling)           value                               is_padded (with zeros that count)
    padding                                 value                               number
    pixel_shuffle, pixel_unshuffle          value                               factor
    reshape, expand                         value
    permute                                 value                               order
    concatenation                           part0, part1, …                     axis
    slice                                   value                               axis, start, stop

Anything else has the kind "", and no rule.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

_GATE_KINDS = {"sigmoid", "tanh", "softplus", "erf", "clamp", "sum", "product", "quotient"}
_LONGEST_GATE = 6


@dataclass(eq=False, slots=True, kw_only=True)
class Value:
    """One value of a graph, for one batch of inputs: `shape` has no open sizes, and is None where it is not known."""

    name: str
    shape: tuple[int, ...] | None
    made_by: "Operation | None" = None
    parameter: str = ""
    """The name of the parameter that it is, if changing that changes no other value."""
    is_fixed: bool = False
    """Whether it depends on parameters and constants alone."""
    outputs: int = 0
    """How many outputs of the model it is."""
    readers: "list[Operation]" = field(default_factory=list)
    """The operations that read it, one that reads it twice listed twice."""

    @property
    def uses(self) -> int:
        return len(self.readers) + self.outputs


@dataclass(eq=False, slots=True, kw_only=True)
class Operation:
    """One operation: its `kind`, what the graph calls it (conv2d, Conv), and the module that it belongs to."""

    kind: str
    name: str
    place: str = ""
    inputs: dict[str, Value] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    output: Value

    def roles_of(self, value: Value) -> list[str]:
        """Return the roles in which the operation reads `value`."""
        return [role for role, own in self.inputs.items() if own is value]

    def __str__(self) -> str:
        return f"{self.name} in {self.place}" if self.place else self.name


@dataclass(frozen=True, slots=True)
class Site:
    """One run of a layer: `value` is what the layer computes, `output` what its readers see, behind a mark."""

    layer: str
    call: int
    output: Value

    @property
    def value(self) -> Value:
        assert self.output.made_by is not None
        return self.output.made_by.inputs["value"]


class Graph(ABC):
    """A description of a model, with the values of its parameters in float64; only these ever change."""

    sites: list[Site]

    @abstractmethod
    def weight(self, parameter: str) -> Tensor:
        """Return a parameter as it is now, in float64."""

    @abstractmethod
    def set_weight(self, parameter: str, tensor: Tensor) -> None:
        """Replace a parameter in the description; the model itself stays as it is."""

    @abstractmethod
    def number(self, value: Value) -> Tensor:
        """Compute a fixed value from the parameters as they are now, in float64."""

    def fits(self, parameter: str, tensor: Tensor) -> bool:  # noqa: ARG002 - overridden where a file has narrower types
        """Return whether the parameter can hold `tensor` in finite numbers."""
        return True

    def layer_at(self, output: Value) -> str:
        """Return the layer whose mark outputs `output`."""
        return next(site.layer for site in self.sites if site.output is output)


def connect(operation: Operation) -> None:
    """Enter an operation with its output, and as a reader of its inputs."""
    operation.output.made_by = operation
    for value in operation.inputs.values():
        value.readers.append(operation)


def recognise_gates(operations: Iterable[Operation]) -> None:
    """Describe x * g(x), written as two or more operations, as one operation that reads x once.

    That is how graphs hold SiLU, GELU and Mish; g is a chain of functions of one value that nothing else reads.
    """
    for product in list(operations):
        if product.kind == "product":
            one, other = product.inputs["one"], product.inputs["other"]
            for value, gate in ((one, other), (other, one)):
                first = _first_of_chain(gate, value)
                if first is not None:
                    value.readers.remove(first)
                    product.kind, product.inputs = "self_gated", {"value": value}
                    break


def _first_of_chain(gate: Value, start: Value) -> Operation | None:
    """Return the operation that reads `start` in a chain of functions from it to `gate`, None where there is none."""
    for _ in range(_LONGEST_GATE):
        operation = gate.made_by
        if operation is None or operation.kind not in _GATE_KINDS or gate.uses != 1:
            return None
        inner = [value for value in operation.inputs.values() if not value.is_fixed]
        if len(inner) != 1:
            return None
        gate = inner[0]
        if gate is start:
            return operation
    return None


def parts_of(operation: Operation) -> Iterator[Value]:
    """Yield the parts of a concatenation in order."""
    return (value for role, value in operation.inputs.items() if role.startswith("part"))
