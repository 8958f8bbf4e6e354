"""Read weights from untrusted files, and write them back with the same structure.

    checkpoint = read_checkpoint(Path("model.pt"), key="netG")
    checkpoint.state                        # {"main.0.weight": tensor, ...}
    write_checkpoint(checkpoint, {"main.0.weight": edited}, "torch", Path("model.fixed.pt"))

A file is recognised by its content, not by its suffix. No code stored in it is executed (torch_files.py). Everything
around the state dict (optimisers, counters) is written back as it was, but for objects that could not be read without
running code; the checkpoint names them in its remarks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ganpatch.disk.atomic_files import enduring, plain_size
from ganpatch.disk.tensor_files import opened_tensors
from ganpatch.errors import GanpatchError, explained, listed
from ganpatch.untrusted.plain_content import NETWORKS, Plain, class_name
from ganpatch.untrusted.state_dicts import (
    Found,
    Recognised,
    State,
    choose_state,
    find_places,
    part_names,
    take_state,
)
from ganpatch.untrusted.torch_files import read_torch
from ganpatch.untrusted.zip_archives import is_archive, opened_archive

Kind = Literal["safetensors", "torch", "torchscript", "pt2", "onnx", "unknown"]
_MOST_TIMES = 16  # as much as its tensors may be larger than the file, which holds shared ones once


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A file of weights: its state dict, and its place in the file."""

    path: Path
    kind: Literal["safetensors", "torch"]
    content: Any
    found: Found
    state: State
    metadata: dict[str, str]
    config: Mapping[str, Any] = field(default_factory=dict)  # what the file says about the network of this state dict
    module_class: str = ""  # the class of the module, where the file holds a whole one
    remarks: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Where in the file the state dict is, as --key has it."""
        return self.found.key

    @property
    def parts(self) -> list[str]:
        """The networks under prefixes of this state dict, where there are several."""
        return part_names(self.found.place) if not self.found.prefix else []


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


def read_checkpoint(path: Path, *, key: str | None = None, recognised: Recognised = lambda state: False) -> Checkpoint:
    """Read the state dict in `path`.

    `key` is its dotted place in the file, or a prefix of its names, or one behind the other; without it, the only state
    dict is read, or the only network that `recognised` accepts. Raises GanpatchError when the file is not a checkpoint,
    or leaves a choice.
    """
    plain, metadata, kind = _read_content(path)
    places = find_places(plain.content)
    if not places:
        raise GanpatchError(f"'{path}' holds no state dict: it is {_described(plain)}")
    where = f"'{path}'"
    found = choose_state(where, places, recognised) if key is None else take_state(where, places, key, recognised)
    state = found.state
    _refuse_inflated(path, state)
    left_aside = (f"not read, and not written again: {listed(plain.left_aside, 6)}",) if plain.left_aside else ()
    return Checkpoint(
        path=path,
        kind=kind,
        content=plain.content,
        found=found,
        state=state,
        metadata=metadata,
        config=_network_config(plain.content, found.place.key),
        module_class=plain.classes.get(found.place.key, ""),
        remarks=tuple(f"{where}: {remark}" for remark in (*found.remarks, *left_aside)),
    )


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
    content, way, names = checkpoint.content, checkpoint.found.place.path, checkpoint.found.stored
    if kind != checkpoint.kind:
        content, way = {names[name]: tensor for name, tensor in checkpoint.state.items()}, ()
    content = _with_tensors(content, way, {names[name]: tensor for name, tensor in replaced.items()})
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


def _read_content(path: Path) -> tuple[Plain, dict[str, str], Literal["safetensors", "torch"]]:
    kind = kind_of(path)
    if kind == "safetensors":
        with opened_tensors(path) as file:
            return Plain(content=file.tensors()), file.metadata, "safetensors"
    if kind == "torch":
        return read_torch(path), {}, "torch"
    found = {
        "torchscript": "a TorchScript archive, not a file of weights",
        "pt2": "an exported program (.pt2), not a file of weights",
        "onnx": "an ONNX graph, or a corrupt file; 'ganpatch layers' and 'ganpatch apply' take graphs",
        "unknown": "neither safetensors nor a torch checkpoint, or it is cut short",
    }[kind]
    raise GanpatchError(f"'{path}' is {found}")


def _network_config(content: Any, key: str) -> Mapping[str, Any]:
    known = content.get(NETWORKS) if isinstance(content, Mapping) else None
    config = known.get(key) if isinstance(known, Mapping) else None
    return config if isinstance(config, Mapping) else {}


def _refuse_inflated(path: Path, state: State) -> None:
    """Raise GanpatchError when many names share data that the file holds once: a module would hold a copy for each."""
    size, needed = plain_size(path), sum(tensor.nbytes for tensor in state.values())
    if needed > _MOST_TIMES * size:
        raise GanpatchError(f"'{path}' has {size:,} bytes, and its tensors would be {needed:,}")


def _with_tensors(content: Any, way: Sequence[Any], replaced: Mapping[str, Tensor]) -> Any:
    """Copy the containers on the way to a state dict, with its `replaced` tensors."""
    if isinstance(content, tuple):
        return tuple(_with_tensors(list(content), way, replaced))
    changed = content.copy()
    if way:
        changed[way[0]] = _with_tensors(content[way[0]], way[1:], replaced)
        return changed
    for name, tensor in replaced.items():
        changed[name] = tensor.detach().to(dtype=content[name].dtype, device="cpu").contiguous()
    return changed


def _described(plain: Plain) -> str:
    content = plain.content
    if not isinstance(content, Mapping):
        return f"a {class_name(content)}"
    names = [*(str(name) for name in content), *plain.left_aside]
    return f"a dict of {listed(names)}" if names else "an empty dict"
