"""Models that come as programs, not as weights: exported programs (.pt2) and TorchScript.

    load_program(Path("model.pt2")).module     # a module tree with the original layer names, on which hooks work

An archive is checked before torch loads it (program_checks.py).
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ganpatch.errors import explained, silenced
from ganpatch.untrusted.program_checks import check_program, check_script
from ganpatch.untrusted.zip_archives import opened_archive


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
    with opened_archive(path) as archive:
        check_program(archive)
    what = f"'{path}' is not a readable exported program"
    with explained(what), path.open("rb") as file, silenced("torch.export"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of its own deprecations
        program = torch.export.load(file)
        module = torch.export.unflatten(program)
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
    with opened_archive(path) as archive:
        check_script(archive)
    with explained(f"'{path}' is not a readable TorchScript archive"):
        script: torch.jit.ScriptModule = torch.jit.load(path, map_location="cpu")
        return script
