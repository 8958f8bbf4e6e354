"""The one equation of all edits. Hooks, baking, ONNX graphs, searches, the pages and the tests all use it from here.

An edit changes the output y [N, C, h, w] of a layer to

    y'[n,u,h,w] = y + alpha[u] * mask[u,h,w] * [y > above[u]] * (value[u] - y)

    edited(y, terms(edit, dims=2))                      # an edit of a patch
    edited(y, Terms.of(alpha * mask, value, above))     # of any tensors that broadcast to y
    replaced(y, alpha * mask, value)                    # the same without a level, for searches by gradient
"""

from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from ganpatch.patch.edit import Edit

Y = TypeVar("Y")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The tensors of the equation, which is affine where y exceeds `above`: y' = y * scale + shift.

    Of an edit at a layer with C units, `scale` = 1 - alpha * mask and `shift` = alpha * mask * value are [C, 1, 1] or
    [C, h, w], and [C] for a layer without a map; `above` likewise, +inf for units that the edit leaves alone, or None
    when nothing is gated.
    """

    scale: Tensor
    shift: Tensor
    above: Tensor | None

    @classmethod
    def of(cls, amount: Tensor, value: Tensor, above: Tensor | None = None) -> "Terms":
        """Return the terms that replace `amount` = alpha * mask of an activation by `value`, above a level."""
        return cls(scale=1 - amount, shift=amount * value, above=above)

    def to(self, like: Tensor) -> "Terms":
        """Return the terms in the dtype and on the device of an activation."""
        above = None if self.above is None else self.above.to(like)
        return Terms(scale=self.scale.to(like), shift=self.shift.to(like), above=above)


def terms(edit: Edit, *, dims: int) -> Terms:
    """Return the tensors of `edit`, in float64, for activations [N, C, ...] with `dims` dimensions after C."""
    units = torch.tensor(edit.units)

    def spread(numbers: tuple[float, ...], elsewhere: float = 0.0) -> Tensor:
        column = torch.full((edit.channels,), elsewhere, dtype=torch.float64)
        column[units] = torch.tensor(numbers, dtype=torch.float64)
        return column.view(-1, *[1] * dims)

    alpha = spread(edit.alpha)
    if edit.mask is not None:
        mask = torch.zeros(edit.channels, *edit.mask.size, dtype=torch.float64)
        mask[units] = edit.mask.values.double()
        alpha = alpha * mask
    above = None if edit.above is None else spread(edit.above, torch.inf)
    return Terms.of(alpha, spread(edit.value), above)


class Steps(Protocol[Y]):
    """The steps of the equation on what represents an activation: a tensor, or a value of a graph."""

    def affine(self, y: Y, scale: Tensor, shift: Tensor) -> Y:
        """Return y * scale + shift."""

    def where_above(self, y: Y, above: Tensor, changed: Y) -> Y:
        """Return `changed` where y > above, else y."""


def equation(y: Y, terms: Terms, steps: Steps[Y]) -> Y:
    """Apply the equation to y, by `steps`."""
    changed = steps.affine(y, terms.scale, terms.shift)
    return changed if terms.above is None else steps.where_above(y, terms.above, changed)


class _OnTensors:
    def affine(self, y: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        return torch.addcmul(shift, y, scale)

    def where_above(self, y: Tensor, above: Tensor, changed: Tensor) -> Tensor:
        return torch.where(y > above, changed, y)


_ON_TENSORS = _OnTensors()


def edited(y: Tensor, terms: Terms) -> Tensor:
    """Apply the equation to an activation y [N, C, ...]; where `above` is not exceeded, y stays bit for bit."""
    return equation(y, terms, _ON_TENSORS)


def replaced(y: Tensor, amount: Tensor, value: Tensor) -> Tensor:
    """Apply the equation without a level: y + amount * (value - y), where `amount` = alpha * mask.

    Equal to `edited` up to rounding. Searches use it because an optimiser like Adam amplifies a rounding error of a
    small gradient to a whole step; so their results stay the same bit for bit.
    """
    return torch.lerp(y, value, amount)
