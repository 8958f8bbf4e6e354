"""One way to call any module: tensors in, one tensor of images out.

    module = adapted(generator, call={"noise_mode": "const"}, as_list=True)
    module(z)                        # generator([z], noise_mode="const"), and the images in whatever it returns

The result is a view: a separate module with the same parameters, layers and names as the original, and another
`forward`. So hooks, fingerprints, state dicts, baking and exporting see the user's model without a wrapper.
"""

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from ganpatch.errors import explained

Forward = Callable[..., Any]
_NAMES = ("image", "images", "img", "imgs", "sample", "samples", "fake", "output", "out")


def adapted(module: nn.Module, *, call: Mapping[str, Any] | None = None, as_list: bool = False) -> nn.Module:
    """Return a view of `module` that passes `call` to its forward, z in a list if `as_list`, and returns images."""
    given = dict(call or {})

    def forward(own: Forward, z: Tensor, *rest: Tensor) -> Any:
        return image_of(own([z] if as_list else z, *rest, **given))

    return viewed(module, forward)


def in_eval_mode(module: nn.Module) -> nn.Module:
    """Return `module`, or, where it is in training mode, a copy in eval mode that shares its parameters and buffers.

    Raises GanpatchError when it cannot be copied.
    """
    layers = list(module.modules())
    if isinstance(module, torch.jit.ScriptModule) or not any(layer.training for layer in layers):
        return module
    values = [value for layer in layers for value in [*vars(layer).values(), *_stored(layer)]]
    shared = {id(value): value for value in values if isinstance(value, Tensor)}
    with explained(f"{type(module).__name__} is in training mode and cannot be copied; put it into eval mode first"):
        return deepcopy(module, shared).eval()


def _stored(layer: nn.Module) -> Iterator[Any]:
    yield from layer.parameters(recurse=False)
    yield from layer.buffers(recurse=False)


def viewed(module: nn.Module, forward: Forward, *, wide: bool = True) -> nn.Module:
    """Return a view of `module` whose forward is `forward(own, *inputs)`, where `own` is the module's own forward.

    `wide` says whether it can compute in float64; a module that cannot ignores a conversion to it.
    """
    kind = type(module)

    def method(self: nn.Module, *inputs: Tensor) -> Any:
        return forward(kind.forward.__get__(self), *inputs)

    def copied(self: nn.Module, memo: dict[int, Any]) -> nn.Module:
        copy: nn.Module = object.__new__(type(self))
        memo[id(self)] = copy
        copy.__dict__.update(deepcopy(self.__dict__, memo))
        return copy

    def converted(self: nn.Module, function: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        if function(torch.zeros(())).dtype == torch.float64:
            return self
        return kind._apply(self, function, recurse)

    members = {"forward": method, "__deepcopy__": copied, "__module__": kind.__module__}
    view: nn.Module = object.__new__(type(kind.__name__, (kind,), members | ({} if wide else {"_apply": converted})))
    view.__dict__.update(module.__dict__)
    return view


def image_of(output: Any) -> Any:
    """Return the images [N, 1 or 3, H, W] inside a tuple, list, dict or object; the output itself if there are none.

    A member called image, sample or output is preferred, then the first one.
    """
    if isinstance(output, Tensor):
        return output
    found = [(name, tensor) for name, tensor in _tensors(output) if _is_image(tensor)]
    named = [tensor for wanted in _NAMES for name, tensor in found if name == wanted]
    return next(iter([*named, *(tensor for _, tensor in found)]), output)


def _tensors(output: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors in nested containers and plain objects, with their names."""
    if isinstance(output, Tensor):
        yield name, output
    elif isinstance(output, Mapping):
        for key, value in output.items():
            yield from _tensors(value, str(key))
    elif isinstance(output, tuple) and hasattr(output, "_fields"):
        for key in output._fields:
            yield from _tensors(getattr(output, key), key)
    elif isinstance(output, tuple | list):
        for value in output:
            yield from _tensors(value, name)
    elif hasattr(output, "__dict__") and not isinstance(output, nn.Module | type):
        for key, value in vars(output).items():
            yield from _tensors(value, key)


def _is_image(tensor: Tensor) -> bool:
    return tensor.ndim == 4 and tensor.shape[1] in (1, 3) and tensor.is_floating_point()
