"""Finding a layer by its name and hooking its output; the only file that registers hooks.

    with hooked(module, {"layer4": on_output}):     # on_output(output, call) -> new output, or None to keep it
        module(z)

A layer is a dotted name as in `named_modules()`. All names are resolved before the first hook is
set, and every hook is gone when the block ends, whatever ended it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ganpatch.errors import GanpatchError, near_miss
from ganpatch.generator.backend import Backend

OnOutput = Callable[[Any, int], Any]


class Enough(Exception):
    """Raised by an `on_output` to end the forward pass: everything that was wanted has run."""


def unwrapped(module: nn.Module) -> nn.Module:
    """Return the module inside torch.compile and DataParallel wrappers; hooks on a compiled wrapper are ignored."""
    if module._compiled_call_impl is not None:
        raise GanpatchError(
            f"{type(module).__name__} was compiled in place (module.compile()), and hooks set after that are ignored; "
            "load it before compiling"
        )
    while True:
        wrapper = isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel)
        inner: Any = getattr(module, "module" if wrapper else "_orig_mod", None)
        if not isinstance(inner, nn.Module):
            return module
        module = inner


def layer_names(module: nn.Module) -> list[str]:
    """Return the names of all layers of `module`, in the order of their definition; without parametrizations."""
    return [name for name, _ in module.named_modules() if name and "parametrizations" not in name.split(".")]


def find_layer(module: nn.Module, name: str) -> nn.Module:
    """Return the layer called `name`; raise GanpatchError with the near miss when there is none."""
    return _found(module, dict(module.named_modules(remove_duplicate=False)), name)


def _found(module: nn.Module, layers: Mapping[str, nn.Module], name: str) -> nn.Module:
    if name and name in layers:
        return layers[name]
    why = module.why_missing(name) if isinstance(module, Backend) else ""
    if why:
        raise GanpatchError(why)
    guess = near_miss(name, layer_names(module))
    hint = guess or "; 'ganpatch layers' lists them"
    raise GanpatchError(f"layer '{name}' not found in {type(module).__name__}{hint}")


def refuse_unhookable(module: nn.Module) -> None:
    """Raise GanpatchError for a module on which torch does not run hooks."""
    if isinstance(module, torch.jit.ScriptModule):
        raise GanpatchError(
            "the model is TorchScript, which does not run hooks; load the Python class with --arch, "
            "or apply the patch to the file's weights with 'ganpatch apply'"
        )


@contextmanager
def hooked(module: nn.Module, on_output: Mapping[str, OnOutput]) -> Iterator[None]:
    """Call `on_output[name](output, call)` after each run of a layer; what it returns replaces the output.

    `call` counts the runs of that layer within one forward pass of `module`, from 0.
    Raises GanpatchError before any hook is set when a layer does not exist.
    """
    refuse_unhookable(module)
    module = unwrapped(module)
    every = dict(module.named_modules(remove_duplicate=False))
    layers = {name: _found(module, every, name) for name in on_output}
    calls = dict.fromkeys(on_output, 0)

    def restart(_module: nn.Module, _inputs: Any) -> None:
        calls.update(dict.fromkeys(calls, 0))

    def hook_for(name: str) -> Callable[[nn.Module, Any, Any], Any]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
            call = calls[name]
            calls[name] = call + 1
            return on_output[name](output, call)

        return hook

    with ExitStack() as stack:
        stack.callback(module.register_forward_pre_hook(restart).remove)
        for name, layer in layers.items():
            stack.callback(layer.register_forward_hook(hook_for(name)).remove)
        yield


def hooked_layers(module: nn.Module) -> list[str]:
    """Return the names of layers with forward hooks; such a model is not saved, because its hooks would be lost."""
    return [name or "(the model)" for name, layer in module.named_modules() if layer._forward_hooks]


def tensor_of(output: Any) -> Tensor | None:
    """Return the tensor inside a layer's output: itself, or the first one of a tuple, list, dict or output object."""
    if isinstance(output, Tensor):
        return output
    for value in _members(output):
        if isinstance(value, Tensor):
            return value
    return None


def with_tensor(output: Any, tensor: Tensor) -> Any:
    """Return `output` with the tensor that `tensor_of` finds replaced by `tensor`."""
    if isinstance(output, Tensor):
        return tensor
    place = next(index for index, value in enumerate(_members(output)) if isinstance(value, Tensor))
    if isinstance(output, tuple):
        members = (*output[:place], tensor, *output[place + 1 :])
        return type(output)(*members) if hasattr(output, "_fields") else members
    if isinstance(output, list):
        return [*output[:place], tensor, *output[place + 1 :]]
    key = list(output)[place]
    changed = output.copy() if isinstance(output, dict) else type(output)(**output)
    changed[key] = tensor
    return changed


def _members(output: Any) -> list[Any]:
    if isinstance(output, tuple | list):
        return list(output)
    if isinstance(output, Mapping):
        return list(output.values())
    return []
