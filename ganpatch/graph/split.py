"""The rest of a forward pass from a layer on: what stands before the layer runs once, edits of it as often as wanted.

    tail = Tail.of(generator, "layer4")
    front = tail.front(seeds=[0, 1])                            # front.activation [2, C, h, w]
    images = tail(front, lambda y: y * keep)                    # [2, 3, H, W] in [0, 1]
    images = tail(front.rows([1, 1, 1]), lambda y: y * keeps)   # one image, three edits

The rest is read from the traced graph: the operations that depend on the layer. Whatever else they read, as a skip
connection, a style or a label, is kept in the front. Where torch.export cannot trace the model for any batch size, the
whole forward pass runs, with a hook: slower, with the same images.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from ganpatch.errors import GanpatchError
from ganpatch.generator.generator import Generator
from ganpatch.generator.layers import find_layer, hooked, tensor_of, with_tensor
from ganpatch.graph.traced_graph import MARK, dynamic_batch, marked

Change = Callable[[Tensor], Tensor]

_BATCHES = (2, 3)  # a graph must hold for both


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """What stands before a layer, for N images: the `activation` [N, C, ...] of its first run, and what the rest reads.

    `read` are tensors with one row per image, in the order in which the tail wants them.
    """

    activation: Tensor
    read: tuple[Tensor, ...]

    def __len__(self) -> int:
        return len(self.activation)

    def rows(self, index: Sequence[int] | Tensor) -> "Front":
        """Return the rows `index`, in that order; a row may come several times."""
        places = torch.as_tensor(index).to(self.activation.device)
        return Front(activation=self.activation[places], read=tuple(tensor[places] for tensor in self.read))

    @staticmethod
    def joined(fronts: "Sequence[Front]") -> "Front":
        """Put fronts of one tail behind each other."""
        columns = zip(*(front.read for front in fronts), strict=True)
        return Front(
            activation=torch.cat([front.activation for front in fronts]),
            read=tuple(torch.cat(column) for column in columns),
        )


class Tail:
    """Runs a generator from one layer on; made by `Tail.of`."""

    def __init__(self, generator: Generator, layer: str, graph: "_Split | None") -> None:
        self.generator, self.layer, self._graph = generator, layer, graph

    @classmethod
    def of(cls, generator: Generator, layer: str) -> "Tail":
        """Split `generator` at `layer`; raise GanpatchError when there is no such layer or it does not run."""
        find_layer(generator.module, layer)
        try:
            with _quietly():
                graph = _Split.of(generator, layer)
        except GanpatchError:
            return cls(generator, layer, None)
        tail = cls(generator, layer, graph)
        return tail if all(tail._agrees(size) for size in _BATCHES) else cls(generator, layer, None)

    @property
    def is_split(self) -> bool:
        """Return whether only the rest is run, and not the whole forward pass."""
        return self._graph is not None

    def front(self, seeds: Sequence[int]) -> Front:
        """Run what stands before the layer for `seeds`, in one batch."""
        args, kwargs = self.generator.inputs(seeds)
        return self.front_of(args, kwargs)

    @torch.no_grad()
    def front_of(self, args: tuple[Tensor, ...], kwargs: Mapping[str, Any]) -> Front:
        """Run what stands before the layer for inputs of the module."""
        if self._graph is not None:
            with self.generator.compute.casting():
                return self._graph.front(args)
        kept: list[Tensor] = []
        with hooked(self.generator.module, {self.layer: lambda output, _call: kept.append(_tensor(output).clone())}):
            self.generator.outputs(args, kwargs)
        if not kept:
            raise GanpatchError(f"layer '{self.layer}' does not run in a forward pass of {self.generator.name}")
        return Front(activation=kept[0], read=args)

    def __call__(self, front: Front, change: Change) -> Tensor:
        """Draw images [N, 3, H, W] in [0, 1] with `change` made to the layer's output, in each of its runs.

        Gradients flow from the images into what `change` uses, where they are switched on.
        """
        if self._graph is not None:
            with self.generator.compute.casting():
                return self.generator.images(self._graph.rest(front, change))

        def on_output(output: Any, _call: int) -> Any:
            return with_tensor(output, change(_tensor(output)))

        with hooked(self.generator.module, {self.layer: on_output}):
            return self.generator.images(self.generator.outputs(front.read, {}))

    def _agrees(self, size: int) -> bool:
        """Return whether front and rest together give the generator's own images."""
        seeds = range(size)
        try:
            with torch.no_grad():
                images = self(self.front(seeds), lambda y: y)
        except (RuntimeError, TypeError, ValueError):
            return False
        return torch.allclose(images, self.generator.sample(seeds), atol=1e-5)


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep to ourselves what torch logs of a model that it cannot trace: there is a way without."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stderr(StringIO()), redirect_stdout(StringIO()):
            yield
    finally:
        logging.disable(before)


def _tensor(output: Any) -> Tensor:
    tensor = tensor_of(output)
    if tensor is None:
        raise GanpatchError(f"the layer gives a {type(output).__name__} without a tensor [N, C, ...]")
    return tensor


class _Split:
    """A traced graph in two: `before` computes what `after` reads."""

    def __init__(self, program: torch.export.ExportedProgram) -> None:
        self._tree = program.call_spec.out_spec
        signature = program.graph_signature
        if len(signature.user_outputs) != len(program.graph.output_node().args[0]):
            raise GanpatchError("the forward pass changes buffers")
        self._fixed = {
            placeholder: program.state_dict.get(name, program.constants.get(name))
            for names in (
                signature.inputs_to_parameters,
                signature.inputs_to_buffers,
                signature.inputs_to_lifted_tensor_constants,
            )
            for placeholder, name in names.items()
        }
        self._nodes = list(program.graph.nodes)
        self._inputs = [n for n in self._nodes if n.op == "placeholder" and n.name in set(signature.user_inputs)]
        self._after = self._closure()
        read = [n for n in self._nodes if n not in self._after and any(user in self._after for user in n.users)]
        self._read = [node for node in read if not self._is_fixed(node)]
        self._constants = {node: value for node, value in self._run_fixed(read).items() if node in read}
        marks = [node for node in self._nodes if node.target == MARK]
        if not marks:
            raise GanpatchError("the layer does not run")
        self._activation = marks[0].args[0]
        self._last_use = {arg: node for node in self._nodes if node in self._after for arg in node.all_input_nodes}

    @classmethod
    def of(cls, generator: Generator, layer: str) -> "_Split":
        args, kwargs = generator.inputs(range(_BATCHES[0]))
        if kwargs:
            raise GanpatchError("inputs by name are not traced")
        return cls(marked(generator.module, args, {}, [layer], dynamic_batch(generator.module, args)))

    def front(self, args: Sequence[Tensor]) -> Front:
        env: dict[fx.Node, Any] = dict(zip(self._inputs, args, strict=True))
        wanted = _ancestors([*self._read, self._activation])
        for node in self._nodes:
            if node in wanted and node not in env:
                env[node] = self._value(node, env)
        return Front(activation=env[self._activation], read=tuple(env[node] for node in self._read))

    def rest(self, front: Front, change: Change) -> Any:
        env: dict[fx.Node, Any] = {**self._constants, **dict(zip(self._read, front.read, strict=True))}
        for node in self._nodes:
            if node not in self._after or node.op == "placeholder":
                continue
            if node.op == "output":
                return pytree.tree_unflatten([env.get(out, out) for out in node.args[0]], self._tree)
            env[node] = change(env[node.args[0]]) if node.target == MARK else self._value(node, env)
            for arg in node.all_input_nodes:
                if self._last_use.get(arg) is node:
                    env.pop(arg, None)
        raise AssertionError("a graph ends with its output")

    def _closure(self) -> set[fx.Node]:
        """Find the nodes to run after the layer: those that depend on it, and what cannot be kept one row per image."""
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
        return all(n.op != "placeholder" or n.name in self._fixed for n in _ancestors([node]))

    def _is_per_image(self, node: fx.Node) -> bool:
        """Return whether a value is a tensor [batch, fixed sizes...]."""
        value = node.meta.get("val")
        if not isinstance(value, Tensor) or value.ndim == 0:
            return False
        batch = self._inputs[0].meta["val"].shape[0]
        own, *others = value.shape
        return str(own) == str(batch) and not any(isinstance(size, torch.SymInt) for size in others)

    def _run_fixed(self, nodes: Sequence[fx.Node]) -> dict[fx.Node, Any]:
        env: dict[fx.Node, Any] = {}
        wanted = _ancestors([node for node in nodes if self._is_fixed(node)])
        with torch.no_grad():
            for node in self._nodes:
                if node in wanted:
                    env[node] = self._value(node, env)
        return env

    def _value(self, node: fx.Node, env: dict[fx.Node, Any]) -> Any:
        if node.op == "placeholder":
            return self._fixed[node.name]
        if node.target == MARK:
            return env[node.args[0]]  # type: ignore[index]
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda arg: env[arg])
        return node.target(*args, **kwargs)  # type: ignore[operator]


def _ancestors(nodes: Sequence[Any]) -> set[fx.Node]:
    """Return `nodes` and everything that they are computed from."""
    found: set[fx.Node] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += node.all_input_nodes
    return found
