"""Files that were made to harm, and what is in them."""

import os
from typing import Any

import torch

from tests.support.nets import dcgan


def state() -> dict[str, torch.Tensor]:
    return dict(dcgan()[0].state_dict())


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch ran",)
