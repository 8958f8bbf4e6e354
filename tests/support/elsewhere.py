"""A device that is not there: tensors on device "meta" that keep their numbers on the CPU, and cannot be mixed with those that do not.

    with elsewhere():
        generator.module.to("meta")         # what forgets to move a tensor fails here as it would on a graphics card

Only where tensors are gets checked this way, not speed, and not whether a card rounds as the CPU does.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

DEVICE = torch.device("meta")

_MOVING = ("aten._to_copy.default", "aten.copy_.default")
_INDEXING = ("aten.index.Tensor", "aten.index_put_.default", "aten._index_put_impl_.default")


class Far(Tensor):
    """A tensor on the device; `near` is where its numbers are."""

    near: Tensor

    @staticmethod
    def __new__(cls, near: Tensor) -> "Far":
        sizes = {"strides": near.stride(), "storage_offset": near.storage_offset(), "dtype": near.dtype}
        far = Tensor._make_wrapper_subclass(cls, near.size(), **sizes, device=DEVICE, requires_grad=near.requires_grad)
        far.near = near
        return far

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Far({self.near})"

    def tolist(self) -> Any:  # torch has none for such tensors
        return self.near.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Elsewhere(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


@contextmanager
def elsewhere() -> Iterator[None]:
    """Have one such device."""
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        with _Elsewhere():
            yield
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(before)


@torch.inference_mode(False)  # views of a tensor from outside that mode are none of it
@torch.no_grad()
def _run(func: Any, args: Any, kwargs: Any) -> Any:
    if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"):
        with _Elsewhere():  # in inference mode these arrive as a whole
            return func.decompose(*args, **kwargs)
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    _refuse_mixing(str(func), tensors)
    device = kwargs.get("device")
    near_args, near_kwargs = tree_map_only(Far, lambda tensor: tensor.near, (args, kwargs))
    found = func(*near_args, **({**near_kwargs, "device": torch.device("cpu")} if device is not None else near_kwargs))
    known = {id(tensor.near if isinstance(tensor, Far) else tensor): tensor for tensor in tensors}
    is_far = device == DEVICE if device is not None else any(isinstance(tensor, Far) for tensor in tensors)

    def given(tensor: Tensor) -> Tensor:
        if id(tensor) in known:  # changed in place
            return known[id(tensor)]
        return Far(tensor) if is_far else tensor

    return tree_map_only(Tensor, given, found)


def _refuse_mixing(name: str, tensors: list[Tensor]) -> None:
    """Raise RuntimeError as a card would; it takes numbers from the CPU, and an index into its own tensors."""
    if name in _INDEXING and isinstance(tensors[0], Far):
        tensors = [tensor for tensor in tensors if tensor.dtype not in (torch.int64, torch.bool)]
    if name not in _MOVING and any(isinstance(tensor, Far) for tensor in tensors):
        near = [list(tensor.shape) for tensor in tensors if not isinstance(tensor, Far) and tensor.ndim]
        if near:
            raise RuntimeError(f"{name}: tensors on two devices, {near} on the CPU")
