"""The one equation of all edits. Hooks, baking, ONNX graphs, searches, the pages and the tests all use it from here.

For an activation y [N, C, h, w] and an edit of its units u:

    y'[n,u,h,w] = y + alpha[u] * mask[u,h,w] * [y > above[u]] * (value[u] - y)

    edited(y, terms(edit, dims=2))
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ganpatch.patch.edit import Edit


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The tensors of an edit at a layer with C units: y' = y * scale + shift, where y > above.

    `scale` = 1 - alpha * mask and `shift` = alpha * mask * value are [C, 1, 1] or [C, h, w], and [C] for a layer
    without a map; `above` likewise, +inf for units that the edit leaves alone, or None when nothing is gated.
    """

    scale: Tensor
    shift: Tensor
    above: Tensor | None

    def to(self, like: Tensor) -> "Terms":
        """Return the terms in the dtype and on the device of an activation."""
        above = None if self.above is None else self.above.to(like)
        return Terms(scale=self.scale.to(like), shift=self.shift.to(like), above=above)


def terms(edit: Edit, *, dims: int) -> Terms:
    """Return the tensors of `edit`, in float64, for activations [N, C, ...] with `dims` dimensions behind C."""
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
    return Terms(scale=1 - alpha, shift=alpha * spread(edit.value), above=above)


def edited(y: Tensor, terms: Terms) -> Tensor:
    """Apply the equation to an activation y [N, C, ...]; where `above` is not exceeded, y stays bit for bit."""
    changed = torch.addcmul(terms.shift, y, terms.scale)
    return changed if terms.above is None else torch.where(y > terms.above, changed, y)
