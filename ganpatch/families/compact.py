"""Compact upscalers of Real-ESRGAN (Wang et al. 2021): SRVGGNetCompact.

image [N, 3, h, w] in 0..1 -> body.0 (convolution), body.1 (PReLU), … -> pixel shuffle, plus the enlarged input
-> image [N, 3, sh, sw].
"""

import math

import torch.nn.functional as F
from torch import Tensor, nn

from ganpatch.families.family import Built, Wish
from ganpatch.families.shared_layers import conv_like, numbered
from ganpatch.generator.input_files import Images
from ganpatch.untrusted.state_dicts import State

NAME = "Compact"

_SIDE = 64
_PLACES = r"body\.(\d+)\."


class CompactUpscaler(nn.Module):
    """Convolutions and PReLUs in turn, a pixel shuffle, and the input added to its result."""

    def __init__(self, state: State, scale: int) -> None:
        super().__init__()
        self.body = nn.ModuleList()
        for number in numbered(state, _PLACES):
            weight = state[f"body.{number}.weight"]
            self.body.append(conv_like(state, f"body.{number}") if weight.ndim == 4 else nn.PReLU(len(weight)))
        self.upsampler = nn.PixelShuffle(scale)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for layer in self.body:
            y = layer(y)
        y = self.upsampler(y)
        return y + F.interpolate(x, scale_factor=self.upsampler.upscale_factor, mode="nearest")


def detect(state: State) -> bool:
    """Return whether `state` is a chain of convolutions and PReLUs under `body`."""
    first, second = state.get("body.0.weight"), state.get("body.1.weight")
    return first is not None and second is not None and first.ndim == 4 and second.ndim == 1


def build(state: State, wish: Wish) -> Built:
    """Build the network of `state`, with the scale of its last convolution."""
    wish.without(NAME, "labels", "repo", "truncation")
    last = state[f"body.{numbered(state, _PLACES)[-1]}.weight"]
    channels = state["body.0.weight"].shape[1]
    module = CompactUpscaler(state, math.isqrt(last.shape[0] // channels))
    return Built(module=module, latent=Images(shape=(channels, _SIDE, _SIDE), cropped=True), range=(0.0, 1.0))
