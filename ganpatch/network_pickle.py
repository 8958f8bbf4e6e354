"""Network pickles of NVlabs' StyleGAN2-ADA and StyleGAN3, read without running anything that is stored in them.

    networks = read_networks(Path("network.pkl"))
    networks["G_ema"].state, networks["G_ema"].config       # tensors by name; {"class_name": …, "init_kwargs": {…}}

Such a pickle carries the source code of its classes and asks to run it. Here every object becomes an inert `Stub` that
only remembers what it was made of; tensors are read by torch's `weights_only` loader. The network itself is built from
the user's own checkout of the code.
"""

import collections
import io
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganpatch.errors import GanpatchError

_MARK, _OLD_MARK = b"_reconstruct_persistent_obj", b"dnnlib.tflib.network"
_HEAD = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One network of a pickle: its tensors, and what it was made with."""

    state: dict[str, Tensor]
    config: dict[str, Any]


class Stub:
    """Stands for any object of a class that is not loaded; keeps its arguments, its state and its items."""

    kind = ""

    def __init__(self, *args: Any, **_kwargs: Any) -> None:
        self.args, self.items, self.state = args, {}, {}  # type: ignore[var-annotated]

    def __new__(cls, *_args: Any, **_kwargs: Any) -> "Stub":
        made = super().__new__(cls)
        made.args, made.items, made.state = (), {}, {}
        return made

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items[key] = value

    def append(self, value: Any) -> None:
        """Take an item, as the pickle of a list does."""
        self.items[len(self.items)] = value

    def extend(self, values: Any) -> None:
        """Take items, as the pickle of a list does."""
        for value in values:
            self.append(value)


def is_network_pickle(path: Path) -> bool:
    """Tell by its first megabyte whether a file is such a pickle, or the older one of TensorFlow."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    return _MARK in head or _OLD_MARK in head


def read_networks(path: Path) -> dict[str, Network]:
    """Read all networks of a pickle by name; one that is not named is called "G".

    Raises GanpatchError when the file is broken, or a TensorFlow pickle.
    """
    with path.open("rb") as file:
        if _OLD_MARK in file.read(_HEAD):
            raise GanpatchError(
                f"'{path}' is a TensorFlow pickle; convert it with legacy.py of NVlabs' stylegan3, "
                "and load what that writes"
            )
        file.seek(0)
        try:
            content = _Reader(file).load()
        except Exception as fault:
            raise GanpatchError(f"'{path}' is not a readable network pickle: {_first_line(fault)}") from fault
    found = content.items() if isinstance(content, Mapping) else [("G", content)]
    networks = {str(name): _network(stub) for name, stub in found if isinstance(stub, Stub)}
    networks = {name: network for name, network in networks.items() if network.state}
    if not networks:
        raise GanpatchError(f"'{path}' holds no network")
    return networks


class _Reader(pickle.Unpickler):
    """Gives plain containers and tensors, and a stub for everything else that a pickle names."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        known = _KNOWN.get((module, name))
        return known if known is not None else type(name, (Stub,), {"kind": f"{module}.{name}"})

    def persistent_load(self, _pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to data outside the file")


def _storage(content: bytes) -> Any:
    """Load one tensor's memory, as torch packs it."""
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _persistent(meta: Mapping[str, Any]) -> Stub:
    """Take what would be run as an object with a class name and a state; its source code is dropped."""
    made = Stub()
    made.state = dict(meta.get("state") or {})
    made.args = (meta.get("class_name"),)
    return made


_KNOWN: dict[tuple[str, str], Any] = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent,
    ("dnnlib.util", "EasyDict"): dict,
    ("dnnlib", "EasyDict"): dict,
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("builtins", "set"): set,
    ("torch", "Size"): torch.Size,
    ("torch", "device"): torch.device,
    ("torch.storage", "_load_from_bytes"): _storage,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    **{
        (f"numpy.{core}.multiarray", name): getattr(np._core.multiarray, name)  # type: ignore[attr-defined]
        for core in ("core", "_core")
        for name in ("scalar", "_reconstruct")
    },
}


def _network(stub: Stub) -> Network:
    state = stub.state if isinstance(stub.state, Mapping) else {}
    config = {
        "class_name": stub.args[0] if stub.args else "",
        "init_args": tuple(state.get("_init_args") or ()),
        "init_kwargs": dict(state.get("_init_kwargs") or {}),
    }
    return Network(state=dict(_tensors(stub)), config=config)


def _tensors(stub: Stub, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Walk through parameters and buffers in the order of a state dict."""
    state = stub.state if isinstance(stub.state, Mapping) else {}
    hidden = state.get("_non_persistent_buffers_set") or ()
    for part in ("_parameters", "_buffers"):
        for name, tensor in (state.get(part) or {}).items():
            if isinstance(tensor, Tensor) and name not in hidden:
                yield f"{prefix}{name}", tensor.detach()
    for name, inner in (state.get("_modules") or {}).items():
        if isinstance(inner, Stub):
            yield from _tensors(inner, f"{prefix}{name}.")


def _first_line(fault: Exception) -> str:
    lines = str(fault).strip().splitlines()
    return lines[0][:200] if lines else type(fault).__name__
