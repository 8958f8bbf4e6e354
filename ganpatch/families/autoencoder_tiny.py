"""The decoder of a tiny autoencoder (TAESD), with the tensor names of diffusers: AutoencoderTiny.

latent [N, 4, h, w] -> decoder.layers.0, decoder.layers.1, … -> image [N, 3, 8h, 8w].
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ganpatch.families.family import Built, Wish
from ganpatch.families.shared_layers import conv_like, numbered
from ganpatch.generator.latents import Latent
from ganpatch.untrusted.state_dicts import State

NAME = "AutoencoderTiny"

_SIDE = 32
_GROUPS = 4  # of the norm in a branch `pool`


class Block(nn.Module):
    """Three convolutions added to the input, and a rectifier; newer ones begin with a branch that has a group norm."""

    def __init__(self, state: State, name: str) -> None:
        super().__init__()
        layers = [conv_like(state, f"{name}.conv.{number}") for number in (0, 2, 4)]
        self.conv = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
        self.skip = conv_like(state, f"{name}.skip") if f"{name}.skip.weight" in state else None
        self.fuse, self.pool = nn.ReLU(), None
        if f"{name}.pool.0.weight" in state:
            into, back = conv_like(state, f"{name}.pool.0"), conv_like(state, f"{name}.pool.3")
            self.pool = nn.Sequential(into, nn.GroupNorm(_GROUPS, into.out_channels), nn.ReLU(), back)

    def forward(self, x: Tensor) -> Tensor:
        if self.pool is not None:
            x = x + self.pool(x)
        return self.fuse(self.conv(x) + (x if self.skip is None else self.skip(x)))


class TinyDecoder(nn.Module):
    """One sequence: a convolution, blocks, and between them twice the size and a convolution."""

    def __init__(self, state: State) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        numbers = numbered(state, r"decoder\.layers\.(\d+)\.")
        for number in numbers:
            name = f"decoder.layers.{number}"
            if number > len(layers):  # an index without tensors: the rectifier after the first layer, or an upsampling
                layers.append(nn.ReLU() if number == 2 else nn.Upsample(scale_factor=2, mode="nearest"))
            if f"{name}.conv.0.weight" in state:
                layers.append(Block(state, name))
            else:
                layers.append(conv_like(state, name))
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(torch.tanh(z / 3) * 3) * 2 - 1


class TinyLatentDecoder(nn.Module):
    """The decoder as diffusers' `decode` runs it."""

    def __init__(self, state: State, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.scale = 1 / (config.get("scaling_factor") or 1.0)
        self.decoder = TinyDecoder(state)

    def forward(self, z: Tensor) -> Tensor:
        return self.decoder(z * self.scale)


def detect(state: State) -> bool:
    """Return whether the decoder of `state` is a sequence that begins with a convolution and a block of three."""
    return {"decoder.layers.0.weight", "decoder.layers.2.conv.0.weight", "decoder.layers.2.conv.4.weight"} <= set(state)


def build(state: State, wish: Wish) -> Built:
    """Build the decoder of `state`."""
    wish.without(NAME, "labels", "repo", "truncation")
    latent = Latent(kind="normal", shape=(state["decoder.layers.0.weight"].shape[1], _SIDE, _SIDE))
    return Built(module=TinyLatentDecoder(state, wish.config), latent=latent, unused=(r"encoder\.",))
