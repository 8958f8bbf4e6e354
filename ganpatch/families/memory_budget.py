"""A limit on the memory of a family's module while it is built: about as much as the tensors that it is built for.

    with budgeted(state, where):
        built = family.build(state, wish)

Sizes come from names and shapes in an untrusted file, and a few bytes could claim any size. Every creation of a tensor
is checked before it takes memory.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ganpatch.errors import GanpatchError
from ganpatch.untrusted.state_dicts import State

_MOST_TIMES = 4  # times as many numbers as the tensors have, in total: initialisation needs temporary ones
_ALWAYS = 1 << 24
_MAKERS = (torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn, torch.full)


@contextmanager
def budgeted(state: State, where: str) -> Iterator[None]:
    """Raise GanpatchError if more memory is requested than `state` needs."""
    with _Budget(_ALWAYS + _MOST_TIMES * sum(tensor.numel() for tensor in state.values()), where):
        yield


class _Budget(TorchFunctionMode):
    def __init__(self, numbers: int, where: str) -> None:
        super().__init__()
        self._left, self._where = numbers, where

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _MAKERS:
            self._refuse(math.prod(_edges(args, kwargs or {})))
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor) and not any(made is given for given in args):
            self._left -= made.numel()
            self._refuse(0)
        return made

    def _refuse(self, wanted: int) -> None:
        if wanted > self._left:
            raise GanpatchError(f"{self._where}: a module for these tensors takes more memory than they do")


def _edges(args: Any, kwargs: Any) -> list[int]:
    """Return the size passed to a function that creates a tensor: numbers, or a list of numbers."""
    told = kwargs.get("size", args[0] if args and isinstance(args[0], list | tuple) else args)
    return [int(edge) for edge in told if isinstance(edge, int)]
