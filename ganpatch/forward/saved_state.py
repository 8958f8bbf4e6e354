"""The state of an unfinished run, in one file per process that is replaced as a whole.

The plan says what the run is of; a file of another plan is not resumed.

    saved = SavedState(partial_of(path, rank), plan)
    tensors, state = saved.read()                       # empty where there is no file yet
    if saved.is_due:                                    # at most as often as it is worth
        saved.write(tensors, {"seconds": 320.0})
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from ganpatch.disk.atomic_files import replacing
from ganpatch.disk.tensor_files import opened_tensors
from ganpatch.errors import GanpatchError, explained

SAVE_EVERY = 30.0  # seconds
_SAVING_TIMES = 100.0  # as long until the next time: statistics of many units are large files


class SavedState:
    """The file of one process of a run; without a path, nothing is kept."""

    def __init__(self, path: Path | None, plan: Mapping[str, object]) -> None:
        self._path, self._plan = path, plan
        self._due = time.monotonic() + SAVE_EVERY

    @property
    def is_due(self) -> bool:
        """Return whether it is time to write."""
        return self._path is not None and time.monotonic() > self._due

    def read(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return tensors and state; raise GanpatchError when the file is broken or of another plan."""
        return load_partial(self._path, self._plan) if self._path is not None and self._path.exists() else ({}, {})

    def write(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Replace the file."""
        if self._path is None:
            return
        started = time.monotonic()
        save_partial(self._path, self._plan, tensors, state)
        now = time.monotonic()
        self._due = now + max(SAVE_EVERY, _SAVING_TIMES * (now - started))


def partial_of(path: Path, rank: int) -> Path:
    """Return the file of one process of several: "partial.safetensors", then "partial-1.safetensors" and so on."""
    return path if rank == 0 else path.with_name(f"{path.stem}-{rank}{path.suffix}")


def partials(path: Path) -> list[Path]:
    """Return the files that exist, that of the first process first."""
    others = sorted(path.parent.glob(f"{path.stem}-*{path.suffix}"))
    return [path, *others] if path.exists() else others


def save_partial(
    path: Path, plan: Mapping[str, object], tensors: Mapping[str, Tensor], state: Mapping[str, Any]
) -> None:
    """Write tensors and state of a run with this plan."""
    metadata = {"ganpatch": json.dumps({"plan": dict(plan), "state": dict(state)})}
    with replacing(path) as temporary:
        save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, temporary, metadata=metadata)


def load_partial(path: Path, plan: Mapping[str, object]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return tensors and state; raise GanpatchError when the file is broken or of another plan."""
    with opened_tensors(path, broken(path)) as file, explained(broken(path)):
        kept = json.loads(file.metadata["ganpatch"])
        before, state, tensors = dict(kept["plan"]), dict(kept["state"]), file.tensors()
    for name, wanted in plan.items():
        if before.get(name) != wanted:
            raise GanpatchError(f"cannot resume: the interrupted run had {name} {before.get(name)}, this one {wanted}")
    return tensors, state


def broken(path: Path) -> str:
    """Return the message for a file that cannot be resumed from."""
    return f"'{path}' is broken; remove it to start over"
