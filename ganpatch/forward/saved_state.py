"""What is done of a long run, in one file per process that is replaced as a whole: tensors, and a plan that tells runs
apart.

Example:

    save_partial(partial_of(path, rank), plan, tensors, {"seconds": 320.0})
    for path in partials(path):
        tensors, state = load_partial(path, plan)
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from ganpatch.disk.atomic_files import replacing
from ganpatch.disk.tensor_files import opened_tensors
from ganpatch.errors import GanpatchError, explained

SAVE_EVERY = 30.0  # seconds


def partial_of(path: Path, rank: int) -> Path:
    """Return the file of one process of several: "partial.safetensors", then "partial-1.safetensors" and so on."""
    return path if rank == 0 else path.with_name(f"{path.stem}-{rank}{path.suffix}")


def partials(path: Path) -> list[Path]:
    """Return the files of all processes that are there, that of the first one first."""
    others = sorted(path.parent.glob(f"{path.stem}-*{path.suffix}"))
    return [path, *others] if path.exists() else others


def save_partial(path: Path, plan: Mapping[str, object], tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    """Keep what is done."""
    metadata = {"ganpatch": json.dumps({"plan": dict(plan), "state": state})}
    with replacing(path) as temporary:
        save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, temporary, metadata=metadata)


def load_partial(path: Path, plan: Mapping[str, object]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return what was kept; raise GanpatchError when the file is broken or of another plan."""
    with opened_tensors(path, broken(path)) as file, explained(broken(path)):
        kept = json.loads(file.metadata["ganpatch"])
        before, state, tensors = dict(kept["plan"]), dict(kept["state"]), file.tensors()
    for name, wanted in plan.items():
        if before.get(name) != wanted:
            raise GanpatchError(f"cannot resume: the interrupted run had {name} {before.get(name)}, this one {wanted}")
    return tensors, state


def broken(path: Path) -> str:
    """Report that a file cannot be gone on from."""
    return f"'{path}' is broken; remove it to start anew"
