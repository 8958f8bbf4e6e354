"""What a family of generators answers: is this state dict mine, and the module that it belongs to."""

from dataclasses import dataclass
from typing import Protocol

from torch import nn

from ganpatch.checkpoint import State
from ganpatch.inputs import Labels, Latent


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A module without its weights yet, and what its family knows of inputs and output."""

    module: nn.Module
    latent: Latent
    labels: Labels | None = None
    range: tuple[float, float] = (-1.0, 1.0)


class Family(Protocol):
    """A module of this room."""

    NAME: str

    def detect(self, state: State) -> bool:
        """Tell from names and shapes whether `state` belongs to this family."""

    def build(self, state: State) -> Built:
        """Build the module that `state` fits, sizes read from its tensors."""
