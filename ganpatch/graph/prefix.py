"""What is computed of a forward pass before a layer, for a batch of images.

A prefix is made by `Remainder.prefix`, and used by the remainder of the same layer as often as needed:

    prefix.activation                       # [N, C, h, w], of the layer's first run
    prefix.rows([1, 1, 1])                  # the second image, three times
    Prefix.joined([first, second])
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Change = Callable[[Tensor], Tensor]  # of a layer's output [N, C, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix:
    """The `activation` [N, C, ...] of a layer's first run, and `read`: whatever else the remainder reads of N images.

    `read` are tensors with one row per image, in the order in which the remainder reads them.
    """

    activation: Tensor
    read: tuple[Tensor, ...]

    def __len__(self) -> int:
        return len(self.activation)

    @property
    def nbytes(self) -> int:
        """How much memory it takes."""
        return self.activation.nbytes + sum(tensor.nbytes for tensor in self.read)

    def rows(self, index: Sequence[int] | Tensor) -> "Prefix":
        """Return the rows `index`, in that order; a row may be listed several times."""
        places = torch.as_tensor(index).to(self.activation.device)
        return Prefix(activation=self.activation[places], read=tuple(tensor[places] for tensor in self.read))

    @staticmethod
    def joined(prefixes: "Sequence[Prefix]") -> "Prefix":
        """Return the rows of all `prefixes`, which are of one layer, in their order."""
        columns = zip(*(prefix.read for prefix in prefixes), strict=True)
        return Prefix(
            activation=torch.cat([prefix.activation for prefix in prefixes]),
            read=tuple(torch.cat(column) for column in columns),
        )
