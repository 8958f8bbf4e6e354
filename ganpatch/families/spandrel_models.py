"""Whatever the package spandrel recognises (chaiNNer): SwinIR, DAT, HAT, GFPGAN, LaMa and some forty others.

    ganpatch layers 4x_swinir.pth           # after: pip install 'ganpatch[spandrel]'

spandrel gets tensors only, from our own reader. Families of this room come first. What spandrel calls around a network
(a noise level, another range of values) is called here too. An inpainter gets one fixed mask, the middle quarter.
"""

import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from ganpatch.families.adapter import Forward, viewed
from ganpatch.families.family import Built, Wish
from ganpatch.generator.input_files import Images
from ganpatch.torchvision_import import made_importable
from ganpatch.untrusted.state_dicts import State

NAME = "spandrel's architectures"

_SIDE = 64
_NOISE = 15 / 255  # the level that spandrel tells DRUNet


def detect(state: State) -> bool:
    """Return whether spandrel is installed, and knows an architecture with these tensors."""
    return next(_fitting(state), None) is not None


def build(state: State, wish: Wish) -> Built:
    """Build what spandrel builds for `state`: the first of its architectures that fits."""
    wish.without(NAME, "labels", "repo", "truncation")
    architecture = next(_fitting(state))
    described = architecture.load(dict(state))
    needs = described.size_requirements
    side = -(-max(_SIDE, needs.minimum) // needs.multiple_of) * needs.multiple_of
    return Built(
        module=viewed(described.model.eval(), _forward(described)),
        latent=Images(
            shape=(described.input_channels, side, side),
            cropped=True,
            multiple=needs.multiple_of,
            minimum=needs.minimum,
        ),
        range=(0.0, 1.0),
        loaded=not set(described.model.state_dict()) <= set(state),
        remarks=(f"{architecture.name}, as the package spandrel reads it",),
    )


def is_installed() -> bool:
    """Return whether the package spandrel can be imported."""
    return importlib.util.find_spec("spandrel") is not None


def _fitting(state: State) -> Iterator[Any]:
    """Yield spandrel's architectures that have such tensors, in its own order."""
    if not is_installed():
        return
    made_importable()
    from spandrel import MAIN_REGISTRY

    for support in MAIN_REGISTRY.architectures("detection"):
        if support.detect(state):
            yield support.architecture


def _forward(described: Any) -> Callable[[Forward, Tensor], Any]:
    """Return a forward that calls the network the way that spandrel does."""
    call: Any = described._call_fn
    if described.architecture.id == "DRUNet":  # spandrel's own call makes a map of the noise for one image only
        return lambda own, x: own(torch.cat((x, torch.full_like(x[:, :1], _NOISE)), 1))
    if type(described).__name__ != "MaskedImageModelDescriptor":
        return lambda own, x: call(_Called(own), x)

    def masked(own: Forward, x: Tensor) -> Any:
        mask = torch.zeros_like(x[:, :1])
        height, width = x.shape[2:]
        mask[:, :, height // 4 : -(height // 4), width // 4 : -(width // 4)] = 1
        return call(_Called(own), x, mask)

    return masked


class _Called:
    """A network as spandrel's calls see it: they call it, and read its settings."""

    def __init__(self, own: Any) -> None:
        self._own = own

    def __call__(self, *inputs: Tensor) -> Any:
        return self._own(*inputs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own.__self__, name)
