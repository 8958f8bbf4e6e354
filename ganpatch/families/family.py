"""The interface of a family of generators: whether a state dict belongs to it, and the module for that state dict."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from ganpatch.errors import GanpatchError
from ganpatch.generator.latents import Drawn, Labels
from ganpatch.untrusted.state_dicts import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A module (without its weights if they come from a file), and what is known about its inputs and its output.

    `unused` are patterns of the names of other tensors in a file: a discriminator, an encoder. `more` are further
    inputs. `finish` is called once the weights are loaded. `remarks` say what was taken from a file, and what was not.
    A module that is `loaded` has its weights already, under other names than the file.
    """

    module: nn.Module
    latent: Drawn
    labels: Labels | None = None
    range: tuple[float, float] = (-1.0, 1.0)
    unused: tuple[str, ...] = ()
    more: tuple[Drawn, ...] = ()
    finish: Callable[[], None] | None = None
    remarks: tuple[str, ...] = ()
    loaded: bool = False

    def used(self, state: State) -> State:
        """Return the tensors of `state` that belong to the generator."""
        return {name: tensor for name, tensor in state.items() if not any(re.match(one, name) for one in self.unused)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a family may need in addition to the tensors: options of the user, and settings in the file or its folder.

    `config` is the config.json next to the weights, or the arguments of the network in a pickle.
    """

    labels: Labels | None = None
    truncation: float | None = None
    repo: Path | None = None
    config: Mapping[str, Any] = field(default_factory=dict)

    def without(self, name: str, *options: str) -> None:
        """Raise GanpatchError if one of `options` is set and family `name` does not support it."""
        for option in options:
            if getattr(self, option) is not None:
                raise GanpatchError(f"{name} takes no --{option}")


class Family(Protocol):
    """The interface of a family: a module of this room."""

    NAME: str

    def detect(self, state: State) -> bool:
        """Return from names and shapes whether `state` belongs to this family."""

    def build(self, state: State, wish: Wish) -> Built:
        """Build the module for `state`, with sizes read from its tensors; it need not have the weights yet."""
