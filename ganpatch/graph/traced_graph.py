"""Tracing a module with torch.export, its wanted layers marked.

    program = marked(module, args, layers=["layer4"])

A small marking operation, set by a hook on every wanted layer, is in the traced graph exactly where the hook of an
edit would be, once for every run of the layer.
"""

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ganpatch.errors import GanpatchError, explained
from ganpatch.generator.layers import hooked, tensor_of, with_tensor
from ganpatch.graph.grouped_convolutions import Unfused

MOST_CALLS = 1_000_000


@torch.library.custom_op("ganpatch::mark", mutates_args=())
def mark(y: Tensor, site: int) -> Tensor:  # noqa: ARG001 - the number is read from the graph
    """Mark the output of a layer in a traced graph; the value itself passes unchanged."""
    return y.clone()


@mark.register_fake
def _mark_traced(y: Tensor, site: int) -> Tensor:  # noqa: ARG001 - the signature is the operation's
    return torch.empty_like(y)


MARK = torch.ops.ganpatch.mark.default


def marked(
    module: nn.Module, args: tuple[Any, ...], layers: list[str], shapes: Any = None
) -> torch.export.ExportedProgram:
    """Export `module`, functional, with a mark after every run of `layers`; raise GanpatchError when torch cannot."""

    def marking(index: int) -> Callable[[Any, int], Any]:
        def on_output(output: Any, call: int) -> Any:
            tensor = tensor_of(output)
            if tensor is None:
                raise GanpatchError(f"layer '{layers[index]}' outputs a {type(output).__name__} without a tensor")
            return with_tensor(output, mark(tensor, index * MOST_CALLS + call))

        return on_output

    with hooked(module, {layer: marking(index) for index, layer in enumerate(layers)}):
        return exported(module, args, shapes, decomposed=True)


def dynamic_batch(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return dynamic shapes for torch.export: the first size of every argument is dynamic."""
    shapes = tuple({0: torch.export.Dim("batch")} for _ in args)
    first = next(iter(inspect.signature(module.forward).parameters.values()))
    return (shapes,) if first.kind is inspect.Parameter.VAR_POSITIONAL else shapes  # forward(*args) of a loaded .pt2


def exported(
    module: nn.Module, args: tuple[Any, ...], shapes: Any = None, *, decomposed: bool = False
) -> torch.export.ExportedProgram:
    """Export `module`, with `shapes` dynamic; raise GanpatchError when torch.export cannot."""
    refused = explained(f"torch.export cannot trace {type(module).__name__}")
    with refused, warnings.catch_warnings(), torch.no_grad(), Unfused():
        warnings.simplefilter("ignore")  # torch's, of its own deprecations
        program = torch.export.export(module, args, dynamic_shapes=shapes)
        return program.run_decompositions({}) if decomposed else program
