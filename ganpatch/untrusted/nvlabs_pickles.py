"""Network pickles of NVlabs' StyleGAN2-ADA and StyleGAN3, read without running anything that is stored in them.

    networks = read_networks(Path("network.pkl"))
    networks["G_ema"].state, networks["G_ema"].config       # tensors by name; {"class_name": …, "init_kwargs": {…}}

Such a pickle contains the source code of its classes and asks to run it. Here every object becomes an inert `Stub` that
only keeps its arguments. The network itself is built from the user's own checkout of the code.
"""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ganpatch.disk.atomic_files import plain_size
from ganpatch.errors import GanpatchError, explained
from ganpatch.untrusted.pickle_reader import Bounded, Reader, Stub
from ganpatch.untrusted.torch_files import KNOWN, read_legacy

_MARK, _OLD_MARK = b"_reconstruct_persistent_obj", b"dnnlib.tflib.network"
_HEAD = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One network of a pickle: its tensors, and what it was made with."""

    state: dict[str, Tensor]
    config: dict[str, Any]


def is_network_pickle(path: Path) -> bool:
    """Return whether a file is such a pickle, or an older one of TensorFlow, by its first megabyte."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    return head.startswith(b"\x80") and (_MARK in head or _OLD_MARK in head)


def read_networks(path: Path) -> dict[str, Network]:
    """Read all networks of a pickle by name; a network without a name is called "G".

    Raises GanpatchError when the file is broken, or a TensorFlow pickle.
    """
    with path.open("rb") as file:
        if _OLD_MARK in file.read(_HEAD):
            raise GanpatchError(
                f"'{path}' is a TensorFlow pickle; convert it with legacy.py of NVlabs' stylegan3, "
                "and load what that writes"
            )
        file.seek(0)
        with explained(f"'{path}' is not a readable network pickle"):
            content = Reader(Bounded(file, plain_size(path)), _KNOWN, _outside).load()
    found = content.items() if isinstance(content, Mapping) else [("G", content)]
    networks = {str(name): _network(stub) for name, stub in found if isinstance(stub, Stub)}
    networks = {name: network for name, network in networks.items() if network.state}
    if not networks:
        raise GanpatchError(f"'{path}' holds no network")
    return networks


class _Named(dict[str, Any]):
    """A dict of NVlabs', which is filled item by item."""

    def __init__(self, *_args: Any) -> None:
        super().__init__()


def _storage(content: Any) -> Any:
    """Return the storage of one tensor, as torch packs it."""
    return read_legacy(io.BytesIO(content), len(content), "a tensor of the network pickle")


def _persistent(meta: Mapping[str, Any]) -> Stub:
    """Return an object with a class name and a state in place of what would be run; its source code is dropped."""
    made = Stub()
    made.state = dict(meta.get("state") or {})
    made.args = (meta.get("class_name"),)
    return made


def _outside(_pid: Any) -> Any:
    raise ValueError("it refers to data outside the file")


_KNOWN = {
    **KNOWN,
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent,
    ("dnnlib.util", "EasyDict"): _Named,
    ("dnnlib", "EasyDict"): _Named,
    ("torch.storage", "_load_from_bytes"): _storage,
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
    """Yield parameters and buffers in the order of a state dict."""
    state = stub.state if isinstance(stub.state, Mapping) else {}
    hidden = state.get("_non_persistent_buffers_set") or ()
    for part in ("_parameters", "_buffers"):
        for name, tensor in (state.get(part) or {}).items():
            if isinstance(tensor, Tensor) and name not in hidden:
                yield f"{prefix}{name}", tensor.detach()
    for name, inner in (state.get("_modules") or {}).items():
        if isinstance(inner, Stub):
            yield from _tensors(inner, f"{prefix}{name}.")
