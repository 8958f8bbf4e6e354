"""What a family of generators answers: is this state dict mine, and the module that it belongs to."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from ganpatch.errors import GanpatchError
from ganpatch.generator.latents import Drawn, Labels
from ganpatch.untrusted.weight_files import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A module, without its weights where they come from a file, and what is known of its inputs and its output.

    `unused` are patterns of tensor names that a file holds beside the generator: a discriminator, an encoder.
    `finish` is called once the weights are there.
    """

    module: nn.Module
    latent: Drawn
    labels: Labels | None = None
    range: tuple[float, float] = (-1.0, 1.0)
    unused: tuple[str, ...] = ()
    finish: Callable[[], None] | None = None

    def used(self, state: State) -> State:
        """Return the tensors of `state` without those that the file holds beside the generator."""
        return {name: tensor for name, tensor in state.items() if not any(re.match(one, name) for one in self.unused)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a family may need beside the tensors: what the user asked for, and what the file or its folder says.

    `config` is the config.json beside the weights, or what a pickle says about its network.
    """

    labels: Labels | None = None
    truncation: float | None = None
    repo: Path | None = None
    config: Mapping[str, Any] = field(default_factory=dict)

    def without(self, name: str, *options: str) -> None:
        """Raise GanpatchError where one of `options` is wished for and family `name` does not have it."""
        for option in options:
            if getattr(self, option) is not None:
                raise GanpatchError(f"{name} takes no --{option}")


class Family(Protocol):
    """A module of this room."""

    NAME: str

    def detect(self, state: State) -> bool:
        """Return from names and shapes whether `state` belongs to this family."""

    def build(self, state: State, wish: Wish) -> Built:
        """Build the module that `state` fits, sizes read from its tensors; it need not hold the weights yet."""
