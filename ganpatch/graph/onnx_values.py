"""What is known of one pass of an ONNX graph: arrays by key, batch after batch where the graph takes one size only.

Example:

    values = Values(rows=5, batch=None)
    values.feed(input, z)
    values.compute(part)
    values.tensor(key)                      # [5, ...]
"""

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor

from ganpatch.errors import GanpatchError
from ganpatch.graph.onnx_axes import is_image_last
from ganpatch.graph.onnx_parts import Arrays, Key, Part, Place

_SHORT = {torch.float16, torch.bfloat16}


class Values:
    """Values of a pass for `rows` images, in batches of a fixed size or in one."""

    def __init__(self, rows: int, batch: int | None) -> None:
        self.rows, self.batch = rows, batch
        self.batches: list[Arrays] = [{} for _ in range(-(-rows // batch) if batch else 1)]

    @property
    def keys(self) -> frozenset[Key]:
        """What is known."""
        return frozenset(self.batches[0])

    def feed(self, declared: ir.Value, tensor: Tensor) -> None:
        """Set an input of the graph to a tensor with one row per image."""
        rank = None if declared.shape is None else len(declared.shape)
        if is_image_last(declared) and tensor.ndim == 4:
            tensor = tensor.movedim(1, -1)
        kind = declared.dtype.numpy() if declared.dtype is not None else np.dtype("float32")
        if declared.dtype == ir.DataType.BFLOAT16:
            kind = np.dtype("float32")
        for arrays, part in zip(self.batches, self._split(tensor), strict=True):
            array = part.cpu().numpy().astype(kind, copy=False)
            if rank == array.ndim - 1 and len(array) == 1:
                array = array[0]
            arrays[str(declared.name), 0] = array

    def fill(self, declared: ir.Value, array: np.ndarray) -> None:
        """Set an input of the graph to the same for all images."""
        kind = declared.dtype.numpy() if declared.dtype is not None else np.dtype("float32")
        sizes = list(declared.shape) if declared.shape is not None else list(array.shape)
        for arrays in self.batches:
            shape = [size if isinstance(size, int) else 1 for size in sizes]
            if sizes and not isinstance(sizes[0], int):
                shape[0] = self.batch or self.rows
            arrays[str(declared.name), 0] = np.broadcast_to(array.astype(kind), shape)

    def compute(self, part: Part) -> None:
        """Run a part of the graph on what is known."""
        for arrays in self.batches:
            arrays.update(part.run(arrays))

    def tensor(self, key: Key) -> Tensor:
        """Return a value with one row per image, floating-point numbers of 16 bits as 32."""
        found = [_tensor(arrays[key]) for arrays in self.batches]
        whole = found[0] if len(found) == 1 else torch.cat(found)
        if whole.ndim == 0 or len(whole) < self.rows:
            raise GanpatchError(f"value '{key[0]}' {list(whole.shape)} has not one row per image ({self.rows})")
        whole = whole[: self.rows] if len(whole) > self.rows else whole
        return whole.float() if whole.dtype in _SHORT else whole

    def put(self, place: Place, tensor: Tensor) -> None:
        """Set the value of a layer behind its hooks."""
        self.assign(place.after, tensor, self.batches[0][place.before].dtype)

    def assign(self, key: Key, tensor: Tensor, kind: np.dtype) -> None:
        """Set a value with one row per image."""
        for arrays, part in zip(self.batches, self._split(tensor), strict=True):
            arrays[key] = part.detach().cpu().numpy().astype(kind, copy=False)

    def pass_on(self, place: Place) -> None:
        """Let the value of a layer pass its hooks unchanged."""
        for arrays in self.batches:
            arrays[place.after] = arrays[place.before]

    def forget(self, names: set[str]) -> None:
        """Forget the values that are to be computed again."""
        for arrays in self.batches:
            for key in [key for key in arrays if key[1] == 0 and key[0] in names]:
                del arrays[key]

    def _split(self, tensor: Tensor) -> Iterator[Tensor]:
        """Split rows into batches; the last one is filled up with its last row."""
        if self.batch is None:
            yield tensor
            return
        for start in range(0, len(tensor), self.batch):
            part = tensor[start : start + self.batch]
            missing = self.batch - len(part)
            yield torch.cat([part, part[-1:].expand(missing, *part.shape[1:])]) if missing else part


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array if array.flags.writeable else array.copy())
