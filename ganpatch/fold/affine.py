"""What an edit asks of a value in the graph: v' = scale * v + shift, each element of the value on its own.

    change = Affine.of(scale, shift)        # each broadcasts to the value's shape
    change.only_over(1, "a convolution")    # raises Unfoldable when it varies over space

`upstream` and `downstream` push such changes through operations until they are changes of parameters.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ganpatch.graph.operations import Value

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
        """Make a change, with dimensions over which nothing varies reduced to size 1."""
        return cls(_reduced(scale), _reduced(shift))

    @classmethod
    def scaling(cls, scale: Tensor) -> "Affine":
        """Make a change that only scales."""
        return cls.of(scale, torch.zeros_like(scale))

    @classmethod
    def shifting(cls, shift: Tensor) -> "Affine":
        """Make a change that only shifts."""
        return cls.of(torch.ones_like(shift), shift)

    @property
    def is_nothing(self) -> bool:
        return bool((self.scale == 1).all() and (self.shift == 0).all())

    @property
    def shifts(self) -> bool:
        return bool((self.shift != 0).any())

    @property
    def scales(self) -> bool:
        return bool((self.scale != 1).any())

    @property
    def dims(self) -> int:
        return self.scale.ndim

    def broadcast(self) -> tuple[Tensor, Tensor]:
        """Return scale and shift in one shape."""
        shape = torch.broadcast_shapes(self.scale.shape, self.shift.shape)
        return self.scale.expand(shape), self.shift.expand(shape)

    def scaled_only(self) -> "Affine":
        """Return the same change without its shift."""
        return Affine(self.scale, torch.zeros([1] * self.dims, dtype=torch.float64))

    def with_shift(self, shift: Tensor) -> "Affine":
        """Return the same change with another shift."""
        return Affine.of(self.scale, shift)

    def only_over(self, dim: int, what: str) -> tuple[Tensor, Tensor]:
        """Return scale and shift as vectors along `dim`; raise Unfoldable when they vary over other dimensions."""
        if self.dims <= max(dim, 0):
            raise Unfoldable(f"the value has no units to which {what} belongs")
        dim %= self.dims
        for part in (self.scale, self.shift):
            if any(size > 1 for place, size in enumerate(part.shape) if place != dim):
                raise Unfoldable(f"it varies over space, and {what} does not")
        return self.scale.flatten(), self.shift.flatten()

    def on_operand(self, shape: tuple[int, ...]) -> "Affine":
        """Return the change of a broadcast operand of `shape`; raise Unfoldable when the operand is coarser."""
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
        """Follow a reshape from a value of shape `before`, which this changes, to one of shape `after`.

        Dimensions over which nothing varies stay of size 1 where they are not merged with others.
        """
        parts = [self.scale, self.shift]
        sizes: list[tuple[list[int], list[int]]] = [([], []), ([], [])]
        for old, new in _blocks(before, after):
            for part, (wide, reshaped) in zip(parts, sizes, strict=True):
                constant = all(part.shape[dim] == 1 for dim in old)
                wide += [1 if constant else before[dim] for dim in old]
                reshaped += [1 if constant else after[dim] for dim in new]
        followed = (part.expand(wide).reshape(new) for part, (wide, new) in zip(parts, sizes, strict=True))
        return Affine.of(*followed)

    def permuted(self, order: list[int]) -> "Affine":
        """Return the change of a value whose dimension i was dimension `order[i]`."""
        return Affine(self.scale.permute(order), self.shift.permute(order))

    def part(self, dim: int, start: int, length: int) -> "Affine":
        """Return the change of the part of the value from `start` on, along `dim`."""

        def cut(tensor: Tensor) -> Tensor:
            return tensor.narrow(dim, start, length) if tensor.shape[dim] > 1 else tensor

        return Affine.of(cut(self.scale), cut(self.shift))

    def embedded(self, dim: int, start: int, length: int, size: int) -> "Affine":
        """Return the change of a whole of `size` along `dim`, of which only the part from `start` on changes."""

        def embed(part: Tensor, rest: float) -> Tensor:
            sizes = list(part.shape)
            sizes[dim] = size
            whole = torch.full(sizes, rest, dtype=torch.float64)
            sizes[dim] = length
            whole.narrow(dim, start, length).copy_(part.expand(sizes))
            return whole

        return Affine.of(embed(self.scale, 1.0), embed(self.shift, 0.0))

    def spread(self, factor: int) -> "Affine":
        """Return the change of [N, C * factor, h, w] of which each group of `factor` units is one unit of this."""
        parts = [part.repeat_interleave(factor) if len(part) > 1 else part for part in self._maps()]
        return Affine.of(*(part.view(1, -1, 1, 1) for part in parts))

    def gathered(self, factor: int, units: int) -> "Affine":
        """Return the change of [N, units / factor, h, w] in which `factor` units become one; undoes `spread`."""
        parts = []
        for part in self._maps():
            grouped = part.expand(units).reshape(-1, factor)
            if bool((grouped != grouped[:, :1]).any()):
                raise Unfoldable("pixel_shuffle makes one unit of several that the edit treats differently")
            parts.append(grouped[:, 0].view(1, -1, 1, 1))
        return Affine.of(*parts)

    def _maps(self) -> tuple[Tensor, Tensor]:
        return self.only_over(1, "pixel_shuffle")


def _blocks(before: tuple[int, ...], after: tuple[int, ...]) -> list[tuple[list[int], list[int]]]:
    """Cut two shapes of the same number of elements into the shortest runs of dimensions with equal products."""
    blocks: list[tuple[list[int], list[int]]] = []
    old, new = 0, 0
    while old < len(before) or new < len(after):
        block: tuple[list[int], list[int]] = ([], [])
        one = other = 1
        while not (block[0] and block[1]) or one != other:
            if (one <= other or new == len(after)) and old < len(before):
                one *= before[old]
                block[0].append(old)
                old += 1
            elif new < len(after):
                other *= after[new]
                block[1].append(new)
                new += 1
            else:
                break
        blocks.append(block)
    return blocks


def known_shape(value: Value) -> tuple[int, ...]:
    """Return the shape of a value; raise Unfoldable when it is not known."""
    if value.shape is None:
        raise Unfoldable(f"the shape of '{value.name}' is not known")
    return value.shape


def _reduced(tensor: Tensor) -> Tensor:
    for dim, size in enumerate(tensor.shape):
        if size > 1 and bool((tensor == tensor.narrow(dim, 0, 1)).all()):
            tensor = tensor.narrow(dim, 0, 1)
    return tensor
