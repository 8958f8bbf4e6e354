"""The decoder of a tiny autoencoder (TAESD), with the tensor names of diffusers: AutoencoderTiny.

latent [N, 4, h, w] -> decoder.layers.0, decoder.layers.1, … -> image [N, 3, 8h, 8w].
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ganpatch.families.family import Built, Wish
from ganpatch.families.shared_layers import numbered
from ganpatch.generator.latents import Latent
from ganpatch.untrusted.state_dicts import State

NAME = "AutoencoderTiny"

_SIDE = 32


class Block(nn.Module):
    """Three convolutions added to the input, and a rectifier."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, channels, 3, padding=1) for _ in range(3)]
        self.conv = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
        self.fuse = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.fuse(self.conv(x) + x)


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
                layers.append(Block(state[f"{name}.conv.0.weight"].shape[0]))
            else:
                after, before = state[f"{name}.weight"].shape[:2]
                layers.append(nn.Conv2d(before, after, 3, padding=1, bias=f"{name}.bias" in state))
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
