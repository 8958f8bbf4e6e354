"""A traced graph in two parts at a layer: what is computed before it, and the operations that depend on it.

Used through `remainder.py`:

    split = SplitGraph.of(generator, "layer4")
    prefix = split.prefix(inputs)
    images = split.images(prefix, lambda y: y * keep)

Whatever else the second part reads, such as a skip connection, a style or a label, is kept in the prefix, if it has one
row per image; else it is computed again.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from ganpatch.errors import GanpatchError
from ganpatch.generator.generator import Generator, Inputs
from ganpatch.graph.prefix import Change, Prefix
from ganpatch.graph.traced_graph import MARK, dynamic_batch, marked

_TRACED = range(2)  # seeds


class SplitGraph:
    """A generator's traced graph, split at one layer."""

    def __init__(self, generator: Generator, program: torch.export.ExportedProgram) -> None:
        self._generator, self._tree = generator, program.call_spec.out_spec
        signature = program.graph_signature
        output = program.graph.output_node()
        if len(signature.user_outputs) != len(output.args[0]):
            raise GanpatchError("the forward pass changes buffers")
        self._nodes, self._held = list(program.graph.nodes), _weights(program)
        marks = [node for node in self._nodes if node.target == MARK]
        if not marks:
            raise GanpatchError("the layer does not run")
        inputs = [n for n in self._nodes if n.op == "placeholder" and n.name in set(signature.user_inputs)]
        self._batch = str(inputs[0].meta["val"].shape[0])
        after = self._after()
        border = [n for n in self._nodes if n not in after and any(user in after for user in n.users)]
        fixed = [node for node in border if self._is_fixed(node)]
        read = [node for node in border if node not in set(fixed)]
        with torch.no_grad():
            values = self._part([], fixed).outputs(())
        kept = [marks[0].args[0], *read]
        self._before, self._sizes = self._part(inputs, kept), [node.meta["val"].shape[1:] for node in kept]
        self._held |= {node.name: value for node, value in zip(fixed, values, strict=True)}
        self._rest = self._part(read, output.args[0])

    @classmethod
    def of(cls, generator: Generator, layer: str) -> "SplitGraph":
        """Trace `generator` and split it; raise GanpatchError when it cannot be traced for any batch size."""
        inputs = generator.inputs_of(_TRACED)
        with _quietly():
            return cls(generator, marked(generator.module, inputs, [layer], dynamic_batch(generator.module, inputs)))

    def prefix(self, inputs: Inputs) -> Prefix:
        """Run what is before the layer; what a module squeezed from a batch of one has a row for its image again."""
        with self._generator.compute.casting():
            found = self._before.outputs(inputs)
        activation, *read = (one.reshape(len(inputs[0]), *size) for one, size in zip(found, self._sizes, strict=True))
        return Prefix(activation=activation, read=tuple(read))

    def images(self, prefix: Prefix, change: Change) -> Tensor:
        """Run what is after the layer, with `change` made to each of the layer's outputs."""
        with self._generator.compute.casting():
            found = self._rest.outputs(prefix.read, change)
            return self._generator.images(pytree.tree_unflatten(found, self._tree))

    def _after(self) -> set[fx.Node]:
        """Return the nodes of the second part: those that depend on the layer, and what has no row per image."""
        after: set[fx.Node] = set()
        for node in self._nodes:
            if node.target == MARK or node.op == "output" or any(arg in after for arg in node.all_input_nodes):
                after.add(node)
        waiting = [arg for node in after for arg in node.all_input_nodes if arg not in after]
        while waiting:
            node = waiting.pop()
            if node not in after and not self._is_fixed(node) and not self._is_per_image(node):
                after.add(node)
                waiting += node.all_input_nodes
        return after

    def _is_fixed(self, node: fx.Node) -> bool:
        """Return whether a value depends on weights alone."""
        return all(n.op != "placeholder" or n.name in self._held for n in _ancestors([node]))

    def _is_per_image(self, node: fx.Node) -> bool:
        """Return whether a value is a tensor [batch, fixed sizes...]."""
        value = node.meta.get("val")
        if not isinstance(value, Tensor) or value.ndim == 0:
            return False
        own, *others = value.shape
        return str(own) == self._batch and not any(isinstance(size, torch.SymInt) for size in others)

    def _part(self, given: Sequence[fx.Node], wanted: Sequence[Any]) -> "_Part":
        """Return the part that computes `wanted` from `given` and from the values that are held."""
        part = fx.Graph()
        copies = {node: part.placeholder(node.name) for node in given}
        needed = _ancestors([node for node in wanted if isinstance(node, fx.Node)], until=copies, held=self._held)
        for node in self._nodes:
            if node in needed and node not in copies:
                is_held = node.name in self._held
                copies[node] = part.get_attr(node.name) if is_held else part.node_copy(node, copies.__getitem__)
        part.output(tuple(copies[one] if isinstance(one, fx.Node) else one for one in wanted))
        return _Part(part, self._held)


class _Part(fx.Interpreter):
    """Runs one part of a graph; values are released after their last use."""

    def __init__(self, graph: fx.Graph, held: Mapping[str, Any]) -> None:
        super().__init__(nn.Module(), graph=graph)
        self.extra_traceback = False  # it would be added to the messages of our own errors
        self._held = held
        self._change: Change | None = None

    def outputs(self, inputs: Sequence[Tensor], change: Change | None = None) -> list[Any]:
        """Return the outputs for `inputs`, with `change` made at every mark."""
        self._change = change
        try:
            return list(self.run(*inputs, enable_io_processing=False))
        finally:
            self.env, self._change = {}, None

    def run_node(self, n: fx.Node) -> Any:
        """Run one node, without the bookkeeping for tracebacks: it takes longer than small operations."""
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        return getattr(self, n.op)(n.target, args, kwargs)

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:  # noqa: ARG002
        return self._held[target]

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        if target == MARK and self._change is not None:
            return self._change(args[0])
        return super().call_function(target, args, kwargs)


def _weights(program: torch.export.ExportedProgram) -> dict[str, Any]:
    """Return parameters, buffers and constants by the names of their placeholders."""
    signature = program.graph_signature
    kinds = (
        signature.inputs_to_parameters,
        signature.inputs_to_buffers,
        signature.inputs_to_lifted_tensor_constants,
    )
    return {
        placeholder: program.state_dict.get(name, program.constants.get(name))
        for names in kinds
        for placeholder, name in names.items()
    }


def _ancestors(
    nodes: Sequence[fx.Node], *, until: Mapping[fx.Node, Any] | None = None, held: Mapping[str, Any] | None = None
) -> set[fx.Node]:
    """Return `nodes` and everything that they are computed from, as far as what is known already."""
    found: set[fx.Node] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            if node not in (until or {}) and node.name not in (held or {}):
                waiting += node.all_input_nodes
    return found


@contextmanager
def _quietly() -> Iterator[None]:
    """Suppress what torch logs about a model that it cannot trace: there is another way."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stderr(StringIO()), redirect_stdout(StringIO()):
            yield
    finally:
        logging.disable(before)
