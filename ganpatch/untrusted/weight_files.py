"""Read weights from untrusted files, and write them back with the same structure.

    checkpoint = read_checkpoint(Path("model.pt"), key="netG")
    checkpoint.state                        # {"main.0.weight": tensor, ...}
    write_checkpoint(checkpoint, {"main.0.weight": edited}, "torch", Path("model.fixed.pt"))

A file is recognised by its content, not by its suffix. No code stored in it is executed (torch_files.py). Everything
around the state dict (optimisers, counters) is written back as it was.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ganpatch.disk.atomic_files import enduring, plain_size
from ganpatch.disk.tensor_files import opened_tensors
from ganpatch.errors import GanpatchError, explained, listed, near_miss
from ganpatch.untrusted.nvlabs_pickles import is_network_pickle, read_networks
from ganpatch.untrusted.torch_files import read_torch
from ganpatch.untrusted.zip_archives import is_archive, opened_archive

Kind = Literal["safetensors", "torch", "torchscript", "pt2", "onnx", "unknown"]
State = dict[str, Tensor]
Places = Iterator[tuple[str, Mapping[str, Tensor]]]

_WRAPPERS = ("module.", "_orig_mod.")
_DEEPEST = 3
_AVERAGED = re.compile("ema|avg|average|smooth")  # names of the weights averaged over training
_NETWORKS = "networks"  # what a file made from an NVlabs pickle says about its networks
_MOST_TIMES = 16  # as much as its tensors may be larger than the file, which holds shared ones once


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A file of weights: its state dict, and its place in the file."""

    path: Path
    kind: Literal["safetensors", "torch"]
    content: Any
    key: str
    prefix: str
    state: State
    metadata: dict[str, str]
    config: Mapping[str, Any] = field(default_factory=dict)  # what the file says about the network of this state dict


def kind_of(path: Path) -> Kind:
    """Return the kind of a file, by its content; raise GanpatchError when it cannot be read."""
    size = plain_size(path)
    with explained(f"cannot read '{path}'"), path.open("rb") as file:
        head = file.read(16)
    if is_archive(path):
        with opened_archive(path) as archive:
            return _zip_kind(set(archive.entries))
    if len(head) > 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size:
        return "safetensors"
    if head[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        return "torch"
    if head[:1] == b"\x08" and len(head) > 2 and head[1] < 32:
        return "onnx"
    return "unknown"


def _zip_kind(names: set[str]) -> Kind:
    if "archive_format" in names or any(name.startswith("models/") for name in names):
        return "pt2"
    if "constants.pkl" in names:
        return "torchscript"
    return "torch" if "data.pkl" in names else "unknown"


def read_checkpoint(
    path: Path, *, key: str | None = None, recognised: Callable[[State], bool] = lambda state: False
) -> Checkpoint:
    """Read the state dict in `path`.

    `key` is its dotted place in the file; without it, the only state dict is read, or the only one that
    `recognised` accepts. Raises GanpatchError when the file is not a checkpoint, needs code to run, or leaves a choice.
    """
    content, metadata, kind = _read_content(path)
    if isinstance(content, nn.Module):
        raise GanpatchError(f"'{path}' holds a whole {type(content).__name__}, not a state dict")
    places = dict(_state_dicts(content))
    if not places:
        raise GanpatchError(f"'{path}' holds no state dict: it is {_described(content)}")
    if key is None:
        key = _only_place(path, places, recognised)
    elif key not in places:
        options = [place or "(the whole file)" for place in places]
        raise GanpatchError(
            f"'{path}' has no state dict under --key '{key}'; it has {listed(options)}{near_miss(key, places)}"
        )
    prefix, state = _without_wrappers(places[key])
    _refuse_inflated(path, state)
    return Checkpoint(
        path=path,
        kind=kind,
        content=content,
        key=key,
        prefix=prefix,
        state=state,
        metadata=metadata,
        config=_network_config(content, key),
    )


def read_pickled_module(path: Path) -> nn.Module | None:
    """Unpickle a whole model, which runs whatever code the file names; None when it holds something else."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=False)
    except Exception as fault:
        raise GanpatchError(f"cannot unpickle '{path}': {type(fault).__name__}: {fault}") from fault
    return content if isinstance(content, nn.Module) else None


def write_checkpoint(
    checkpoint: Checkpoint,
    replaced: Mapping[str, Tensor],
    kind: str,
    output: Path,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write the file again with the tensors in `replaced`, cast to the dtypes that were there.

    `kind` is "safetensors" or "torch"; if the file was of the other kind, only the state dict is written.
    `metadata` replaces the file's own in safetensors.
    """
    content, place = checkpoint.content, checkpoint.key.split(".") if checkpoint.key else []
    if kind != checkpoint.kind:
        content, place = {checkpoint.prefix + name: tensor for name, tensor in checkpoint.state.items()}, []
    stored = {checkpoint.prefix + name: tensor for name, tensor in replaced.items()}
    content = _with_tensors(content, place, stored)
    if kind == "safetensors":
        plain = {name: tensor.contiguous() for name, tensor in content.items()}
        save_file(plain, output, metadata=dict(checkpoint.metadata if metadata is None else metadata) or None)
    else:
        with enduring(output) as file:
            torch.save(content, file)


def load_state(module: nn.Module, state: State, where: str) -> None:
    """Copy `state` into `module`, all or nothing; raise GanpatchError naming the tensors that do not fit."""
    own = module.state_dict()
    missing = sorted(name for name in own if name not in state and not name.endswith("num_batches_tracked"))
    extra = sorted(name for name in state if name not in own)
    wrong = [
        f"'{name}' is {list(state[name].shape)} and should be {list(tensor.shape)}"
        for name, tensor in own.items()
        if name in state and state[name].shape != tensor.shape
    ]
    faults = [f"{len(missing)} missing ({listed(missing, 3)})"] if missing else []
    faults += [f"{len(extra)} unknown ({listed(extra, 3)})"] if extra else []
    faults += [f"{len(wrong)} of another shape ({listed(wrong, 2)})"] if wrong else []
    if faults:
        raise GanpatchError(f"{where} does not fit {type(module).__name__}: tensors: {'; '.join(faults)}")
    module.load_state_dict(state, strict=False)


def _read_content(path: Path) -> tuple[Any, dict[str, str], Literal["safetensors", "torch"]]:
    kind = kind_of(path)
    if kind == "safetensors":
        return *_read_safetensors(path), "safetensors"
    if kind == "torch":
        return _read_networks(path) or read_torch(path), {}, "torch"
    found = {
        "torchscript": "a TorchScript archive, not a file of weights",
        "pt2": "an exported program (.pt2), not a file of weights",
        "onnx": "an ONNX graph, or a corrupt file; 'ganpatch layers' and 'ganpatch apply' take graphs",
        "unknown": "neither safetensors nor a torch checkpoint, or it is cut short",
    }[kind]
    raise GanpatchError(f"'{path}' is {found}")


def _read_safetensors(path: Path) -> tuple[State, dict[str, str]]:
    with opened_tensors(path) as file:
        return file.tensors(), file.metadata


def _read_networks(path: Path) -> Any:
    """Read a pickle of NVlabs as a checkpoint: state dicts by name, and how the networks were made."""
    if not is_network_pickle(path):
        return None
    networks = read_networks(path)
    states: dict[str, Any] = {name: network.state for name, network in networks.items()}
    return states | {_NETWORKS: {name: network.config for name, network in networks.items()}}


def _network_config(content: Any, key: str) -> Mapping[str, Any]:
    known = content.get(_NETWORKS) if isinstance(content, Mapping) else None
    config = known.get(key) if isinstance(known, Mapping) else None
    return config if isinstance(config, Mapping) else {}


def _refuse_inflated(path: Path, state: State) -> None:
    """Raise GanpatchError when many names share data that the file holds once: a module would hold a copy for each."""
    size, needed = plain_size(path), sum(tensor.nbytes for tensor in state.values())
    if needed > _MOST_TIMES * size:
        raise GanpatchError(f"'{path}' has {size:,} bytes, and its tensors would be {needed:,}")


def _state_dicts(content: Any, place: str = "", depth: int = 0, seen: dict[int, bool] | None = None) -> Places:
    """Yield the dotted place and the tensors of every dict of tensors in a checkpoint.

    A mapping that occurs several times is visited once: whether it holds tensors alone is kept in `seen`.
    """
    seen = {} if seen is None else seen
    if not isinstance(content, Mapping) or not content:
        return
    if id(content) in seen:
        if seen[id(content)]:
            yield place, content
        return
    seen[id(content)] = all(isinstance(value, Tensor) for value in content.values())
    if not all(isinstance(name, str) for name in content):
        seen[id(content)] = False
    elif seen[id(content)]:
        yield place, content
    elif depth < _DEEPEST:
        for name, value in content.items():
            yield from _state_dicts(value, f"{place}.{name}" if place else name, depth + 1, seen)


def _only_place(path: Path, places: Mapping[str, Mapping[str, Tensor]], recognised: Callable[[State], bool]) -> str:
    fitting = [place for place, state in places.items() if recognised(_without_wrappers(state)[1])]
    if len(fitting) > 1:
        fitting = [place for place in fitting if _AVERAGED.search(place.lower())] or fitting
    for choice in (list(places), fitting):
        if len(choice) == 1:
            return choice[0]
    options = [f"'{place}' ({len(state)} tensors)" for place, state in places.items()]
    raise GanpatchError(f"'{path}' holds {len(places)} state dicts; choose one with --key: {listed(options)}")


def _without_wrappers(state: Mapping[str, Tensor]) -> tuple[str, State]:
    """Remove the prefix that DataParallel or torch.compile put before every name."""
    prefix = ""
    while wrapper := next((w for w in _WRAPPERS if all(name.startswith(prefix + w) for name in state)), None):
        prefix += wrapper
    return prefix, {name[len(prefix) :]: tensor for name, tensor in state.items()}


def _with_tensors(content: Any, place: Sequence[str], replaced: Mapping[str, Tensor]) -> Any:
    """Copy the containers on the way to the state dict at `place`, with its `replaced` tensors."""
    changed = content.copy()
    if not place:
        for name, tensor in replaced.items():
            changed[name] = tensor.detach().to(dtype=content[name].dtype, device="cpu").contiguous()
        return changed
    for length in range(1, len(place) + 1):  # a name may itself contain dots
        name = ".".join(place[:length])
        if name in content:
            changed[name] = _with_tensors(content[name], place[length:], replaced)
            return changed
    raise AssertionError(f"no {'.'.join(place)} in the checkpoint it was read from")


def _described(content: Any) -> str:
    if isinstance(content, Mapping):
        return f"a dict of {listed([str(name) for name in content])}" if content else "an empty dict"
    return f"a {type(content).__name__}"
