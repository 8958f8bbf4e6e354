"""What an edit asks of a value in the graph: v' = scale * v + shift, each element of the value on its own.

    wish = Affine.of(scale, shift)          # each broadcasts to the value's shape
    wish.only_over(1, "a convolution")      # fails with Unfoldable when it varies over space

`upstream.py` and `downstream.py` push such wishes through operations until parameters grant them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_SHARED = "one of two values that are combined is shared by units that the edit treats differently"


class Unfoldable(Exception):
    """No parameters can do what an edit asks; the text says why."""


@dataclass(frozen=True, slots=True)
class Affine:
    """v' = scale * v + shift, in float64, with as many dimensions as v, each of size 1 or of v's size."""

    scale: Tensor
    shift: Tensor

    @classmethod
    def of(cls, scale: Tensor, shift: Tensor) -> "Affine":
        """Make a wish, with dimensions over which nothing varies reduced to size 1."""
        return cls(_reduced(scale), _reduced(shift))

    @property
    def is_nothing(self) -> bool:
        return bool((self.scale == 1).all() and (self.shift == 0).all())

    @property
    def shifts(self) -> bool:
        return bool((self.shift != 0).any())

    @property
    def dims(self) -> int:
        return self.scale.ndim

    def broadcast(self) -> tuple[Tensor, Tensor]:
        """Return scale and shift in one shape."""
        shape = torch.broadcast_shapes(self.scale.shape, self.shift.shape)
        return self.scale.expand(shape), self.shift.expand(shape)

    def scaled_only(self) -> "Affine":
        """Return the same wish without its shift."""
        return Affine(self.scale, torch.zeros([1] * self.dims, dtype=torch.float64))

    def with_shift(self, shift: Tensor) -> "Affine":
        """Return the same wish with another shift."""
        return Affine.of(self.scale, shift)

    def only_over(self, dim: int, what: str) -> tuple[Tensor, Tensor]:
        """Return scale and shift as vectors along `dim`; raise Unfoldable when they vary over other dimensions."""
        dim %= self.dims
        for part in (self.scale, self.shift):
            if any(size > 1 for place, size in enumerate(part.shape) if place != dim):
                raise Unfoldable(f"it varies over space, and {what} does not")
        return self.scale.flatten(), self.shift.flatten()

    def on_operand(self, shape: tuple[int, ...]) -> "Affine":
        """Return the wish to a broadcast operand of `shape`; raise Unfoldable when that is coarser than the wish."""
        extra = self.dims - len(shape)
        parts = []
        for part in (self.scale, self.shift):
            if any(size > 1 for size in part.shape[:extra]):
                raise Unfoldable(_SHARED)
            kept = part.reshape(part.shape[extra:])
            if any(size not in (1, own) for size, own in zip(kept.shape, shape, strict=True)):
                raise Unfoldable(_SHARED)
            parts.append(kept)
        return Affine(parts[0], parts[1])

    def reshaped(self, before: tuple[int, ...], after: tuple[int, ...]) -> "Affine":
        """Follow a reshape from a value of shape `before`, that the wish is for, to one of shape `after`.

        An equal first dimension, the batch, is left as it is.
        """

        def follow(tensor: Tensor) -> Tensor:
            if before and after and before[0] == after[0]:
                first = tensor.shape[0]
                return tensor.expand(first, *before[1:]).reshape(first, *after[1:])
            return tensor.expand(before).reshape(after)

        return Affine.of(follow(self.scale), follow(self.shift))


def _reduced(tensor: Tensor) -> Tensor:
    for dim, size in enumerate(tensor.shape):
        if size > 1 and bool((tensor == tensor.narrow(dim, 0, 1)).all()):
            tensor = tensor.narrow(dim, 0, 1)
    return tensor
