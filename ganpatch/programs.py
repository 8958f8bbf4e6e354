"""Models that come as programs, not as weights: exported programs (.pt2) and TorchScript.

    load_program(Path("model.pt2")).module     # a module tree with the original layer names, on which hooks work

`torch.export.load` unpickles what an archive asks it to, and loads compiled libraries. An archive is therefore looked
at first, and refused where it holds anything but plain tensors and a graph.
"""

import io
import json
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ganpatch.errors import GanpatchError, listed

_LARGEST_CONFIG = 64_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A loaded .pt2: the module tree, and the shape and dtype of each input, None for a dynamic batch size."""

    module: nn.Module
    inputs: tuple[tuple[tuple[int | None, ...], torch.dtype], ...]

    @property
    def batch(self) -> int | None:
        """The batch size, if it is fixed."""
        return self.inputs[0][0][0] if self.inputs and self.inputs[0][0] else None


def load_program(path: Path) -> Program:
    """Load a .pt2 as a module with its original layers; raise GanpatchError when it is unsafe or broken."""
    _refuse_unsafe(path)
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, of its own deprecations
            program = torch.export.load(file)
            module = torch.export.unflatten(program)
    except Exception as fault:
        raise GanpatchError(f"'{path}' is not a readable exported program: {_first_line(fault)}") from fault
    for part in module.modules():
        graph = getattr(part, "graph", None)
        for node in graph.nodes if isinstance(graph, torch.fx.Graph) else ():
            node.meta.pop("val", None)  # traced values, which cannot be copied
            node.meta.pop("tensor_meta", None)
    return Program(module=module, inputs=tuple(_inputs(program)))


def _inputs(program: torch.export.ExportedProgram) -> Iterator[tuple[tuple[int | None, ...], torch.dtype]]:
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in program.graph_signature.user_inputs:
            value = node.meta["val"]
            yield tuple(size if isinstance(size, int) else None for size in value.shape), value.dtype


def load_script(path: Path) -> torch.jit.ScriptModule:
    """Load a TorchScript archive on the CPU; its code runs in TorchScript's interpreter, not in Python."""
    try:
        script: torch.jit.ScriptModule = torch.jit.load(path, map_location="cpu")
        return script
    except Exception as fault:
        raise GanpatchError(f"'{path}' is not a readable TorchScript archive: {_first_line(fault)}") from fault


def _refuse_unsafe(path: Path) -> None:
    """Raise GanpatchError when loading the archive would unpickle objects or load compiled code."""
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                name = entry.filename.partition("/")[2]
                if name.startswith(("data/aotinductor", "executorch")) or name.endswith((".so", ".dylib", ".dll")):
                    raise GanpatchError(f"'{path}' holds compiled code ({name}), which is not loaded")
                if name.startswith("data/") and name.endswith("_config.json"):
                    _refuse_pickled(path, archive, entry)
                if name.startswith("data/sample_inputs/"):
                    _refuse_objects(path, archive.read(entry), name)
    except (OSError, zipfile.BadZipFile) as fault:
        raise GanpatchError(f"cannot read '{path}': {fault}") from fault


def _refuse_pickled(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    if entry.file_size > _LARGEST_CONFIG:
        raise GanpatchError(f"'{path}' is broken: {entry.filename} is too large")
    try:
        config = json.loads(archive.read(entry))["config"]
        pickled = [name for name, meta in config.items() if meta["use_pickle"]]
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise GanpatchError(f"'{path}' is broken: {entry.filename} is not what torch writes") from fault
    if pickled:
        raise GanpatchError(f"'{path}' holds pickled objects ({listed(pickled, 3)}), which could run code")


def _refuse_objects(path: Path, content: bytes, name: str) -> None:
    try:
        torch.load(io.BytesIO(content), weights_only=True)
    except Exception as fault:
        raise GanpatchError(f"'{path}' holds pickled objects ({name}), which could run code") from fault


def _first_line(fault: Exception) -> str:
    lines = str(fault).strip().splitlines()
    return lines[0][:200] if lines else type(fault).__name__
