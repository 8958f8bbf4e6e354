"""Files of arrays that ganpatch itself writes and reads again, as safetensors.

Names and shapes are checked, and numbers are finite:

    write_arrays(folder / "causes.safetensors", {"q99": q99})
    arrays = read_arrays(folder / "causes.safetensors", {"q99": (256,)})
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from ganpatch.disk.atomic_files import replacing
from ganpatch.disk.tensor_files import opened_tensors
from ganpatch.errors import GanpatchError

Shapes = Mapping[str, tuple[int, ...]]
_NUMBERS = {torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int32, torch.int64}


def read_arrays(path: Path, shapes: Shapes, optional: Shapes | None = None) -> dict[str, Tensor]:
    """Read the arrays named in `shapes`, and those of the `optional` ones that the file holds.

    Raises GanpatchError when the file is broken, an array is missing, of another shape, or not of finite numbers.
    """
    with opened_tensors(path, f"'{path}' is broken") as file:
        there = {name: shape for name, shape in (optional or {}).items() if name in file.names}
        wanted = {**shapes, **there}
        if missing := sorted(wanted.keys() - set(file.names)):
            raise GanpatchError(f"'{path}' is broken: it has no {missing[0]}")
        found = {name: file.tensor(name) for name in wanted}
    for name, shape in wanted.items():
        if tuple(found[name].shape) != shape or not is_finite(found[name]):
            raise GanpatchError(f"'{path}': {name} is {list(found[name].shape)}, not {list(shape)}, or not finite")
    return found


def write_arrays(path: Path, arrays: Mapping[str, Tensor]) -> None:
    """Write arrays whole or not at all."""
    with replacing(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in arrays.items()}, temporary)


def is_finite(tensor: Tensor) -> bool:
    """Return whether a tensor has a dtype that can be computed with, and all its numbers are finite."""
    return tensor.dtype in _NUMBERS and bool(torch.isfinite(tensor).all())
