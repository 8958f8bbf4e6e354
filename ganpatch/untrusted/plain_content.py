"""Reduce what a pickle holds to plain values and tensors: modules become state dicts, other objects are left aside.

    plain = reduced(content, unread)
    plain.content                           # {"netG": {"main.0.weight": tensor}, "epoch": 3}
    plain.left_aside                        # ("when (datetime.datetime)",)

Objects of classes that are not loaded are inert stubs (pickle_reader.py). A stub with the parts of an `nn.Module` holds
tensors, and what NVlabs' persistence says about how it was made. Any other is removed from its mapping, and named.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganpatch.untrusted.pickle_reader import Stub

NETWORKS = "networks"  # the entry of a checkpoint that says how the networks beside it were made

_BARE = "G"  # the name of a network that NVlabs' code saved without one
_VALUES = (
    *(str, bytes, bytearray, int, float, complex, type(None)),
    *(Tensor, torch.dtype, torch.Size, torch.device, np.ndarray, np.generic, np.dtype),
)
_DEEPEST, _MOST_MODULES = 64, 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """Plain values and tensors; the class of every module, by place; what was left aside, with its class."""

    content: Any
    classes: Mapping[str, str] = field(default_factory=dict)
    left_aside: tuple[str, ...] = ()


def reduced(content: Any, unread: Sequence[Any] = ()) -> Plain:
    """Reduce the content of a pickle; `unread` are arrays in it that could not be read.

    Containers are changed in place. Raises ValueError when modules are nested without end.
    """
    if _is_module(content) and _made_with(content):
        content = {_BARE: content}
    networks = {}
    if isinstance(content, dict):
        networks = {str(name): made for name, one in content.items() if _is_module(one) and (made := _made_with(one))}
    reduction = _Reduction({id(array) for array in unread})
    made = reduction.reduce(content, "", 0)
    content = content if isinstance(made, _Foreign) else made
    if networks:
        content = {**content, NETWORKS: networks}
    return Plain(content=content, classes=reduction.classes, left_aside=tuple(reduction.left_aside))


def class_name(content: Any) -> str:
    """Return the name of the class of an object, as its pickle gives it."""
    if isinstance(content, Stub):
        return content.kind or str(content.args[0] if content.args else "object")
    return type(content).__name__


@dataclass(frozen=True, slots=True)
class _Foreign:
    """What is not plain: the name of its class."""

    name: str


class _Reduction:
    """One pass over nested containers, each visited once."""

    def __init__(self, unread: set[int]) -> None:
        self.classes: dict[str, str] = {}
        self.left_aside: list[str] = []
        self._unread, self._made = unread, dict[int, Any]()

    def reduce(self, value: Any, place: str, depth: int) -> Any:
        """Return a value with plain parts only, or a _Foreign in its place."""
        if isinstance(value, _VALUES):
            return _Foreign(class_name(value)) if id(value) in self._unread else value
        if _is_module(value):
            self.classes[place] = class_name(value)
            return dict(_tensors(value))
        if depth > _DEEPEST or not isinstance(value, dict | list | tuple | set | frozenset | argparse.Namespace):
            return _Foreign(class_name(value))
        if id(value) not in self._made:
            self._made[id(value)] = value
            self._made[id(value)] = self._opened(value, place, depth + 1)
        return self._made[id(value)]

    def _opened(self, value: Any, place: str, depth: int) -> Any:
        if attributes := getattr(value, "__dict__", None):
            self._prune(attributes, place, depth)
        if isinstance(value, argparse.Namespace):
            return value
        if isinstance(value, dict):
            self._prune(value, place, depth)
            return value
        parts = [self.reduce(part, f"{place}.{index}", depth) for index, part in enumerate(value)]
        if foreign := next((part for part in parts if isinstance(part, _Foreign)), None):
            return foreign
        same = all(one is other for one, other in zip(parts, value, strict=True))
        return value if same else parts if isinstance(value, list) else tuple(parts)

    def _prune(self, mapping: dict[Any, Any], place: str, depth: int) -> None:
        """Reduce the values of a mapping, and remove those that are not plain."""
        for key, value in list(mapping.items()):
            inner = f"{place}.{key}" if place else str(key)
            made = self.reduce(value, inner, depth)
            if isinstance(made, _Foreign):
                del mapping[key]
                self.left_aside.append(f"{inner} ({made.name})")
            elif made is not value:
                mapping[key] = made


def _is_module(value: Any) -> bool:
    """Return whether a value is a stub with the parts of an `nn.Module`."""
    state = value.state if isinstance(value, Stub) else None
    return isinstance(state, Mapping) and isinstance(state.get("_modules"), Mapping) and "_parameters" in state


def _made_with(stub: Stub) -> Mapping[str, Any]:
    """Return the class and the arguments that NVlabs' persistence stored with a module; empty where it did not."""
    if "_init_kwargs" not in stub.state:
        return {}
    return {
        "class_name": stub.args[0] if stub.args else "",
        "init_args": tuple(stub.state.get("_init_args") or ()),
        "init_kwargs": dict(stub.state.get("_init_kwargs") or {}),
    }


def _tensors(stub: Stub) -> Iterator[tuple[str, Tensor]]:
    """Yield parameters and buffers in the order of a state dict."""
    waiting, count = [("", stub, 0)], 0
    while waiting:
        prefix, here, depth = waiting.pop()
        count += 1
        if count > _MOST_MODULES or depth > _DEEPEST:
            raise ValueError("its modules are nested without end")
        hidden = here.state.get("_non_persistent_buffers_set") or ()
        for part in ("_parameters", "_buffers"):
            for name, tensor in (here.state.get(part) or {}).items():
                if isinstance(tensor, Tensor) and name not in hidden:
                    yield f"{prefix}{name}", tensor.detach()
        inner = [(f"{prefix}{name}.", one, depth + 1) for name, one in here.state["_modules"].items()]
        waiting += [entry for entry in reversed(inner) if _is_module(entry[1])]
