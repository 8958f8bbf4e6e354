"""What a family is compared with: a module of its real code."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn


@dataclass
class Reference:
    """A module of the real code; `draw` calls it, `part` names the entry of its state that is saved."""

    module: nn.Module
    draw: Callable[..., Tensor]
    options: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    gain: float = 2.5  # of the weights, in the sense of He; 0 for weights of unit variance, scaled at run time
    layer: str | None = None
    own_weights: bool = False  # keep those it was made with, where some are indices: no fixture is made of it
