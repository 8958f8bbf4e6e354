"""Decoders of the tiny autoencoders TAESD, TAESD3, TAEF1, TAEF2 …, with the tensor names of their author.

latent [N, 4, 16 or 32, h, w] -> 1, 3, 4, … of one sequence -> image [N, 3, 8h, 8w]. Encoder and decoder are files
apart; with the names of diffusers both are in one (autoencoder_tiny.py).
"""

import torch
from torch import Tensor, nn

from ganpatch.errors import GanpatchError
from ganpatch.families.autoencoder_tiny import Block
from ganpatch.families.family import Built, Wish
from ganpatch.families.shared_layers import conv_like, numbered
from ganpatch.generator.latents import Latent
from ganpatch.untrusted.state_dicts import State

NAME = "TAESD"

_SIDE = 32
_MOST_BETWEEN = 2  # layers without tensors in a row


class Clamp(nn.Module):
    """Latents pressed into -3 to 3."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(z / 3) * 3


class TinyDecoder(nn.Sequential):
    """The author's sequence: numbers without tensors are the clamp, a rectifier, or twice the size."""

    def __init__(self, state: State) -> None:
        layers: list[nn.Module] = []
        for number in numbered(state, r"(\d+)\."):
            if number > len(layers) + _MOST_BETWEEN:  # a number costs nothing in a name, and a module each
                raise GanpatchError(f"{NAME}: layer {number} follows {len(layers) - 1}: those between are missing")
            while number > len(layers):
                layers.append(_between(len(layers)))
            block = f"{number}.conv.0.weight" in state
            layers.append(Block(state, str(number)) if block else conv_like(state, str(number)))
        super().__init__(*layers)


def detect(state: State) -> bool:
    """Return whether `state` is such a decoder, or an encoder, which `build` refuses."""
    return _is_decoder(state) or {"0.weight", "1.conv.0.weight", "1.conv.4.weight"} <= set(state)


def build(state: State, wish: Wish) -> Built:
    """Build the decoder of `state`; raise GanpatchError for an encoder."""
    wish.without(NAME, "labels", "repo", "truncation")
    if not _is_decoder(state):
        raise GanpatchError(f"{NAME}: this is the encoder, which makes latents of images; load the file of the decoder")
    channels = state["1.weight"].shape[1]
    return Built(
        module=TinyDecoder(state), latent=Latent(kind="normal", shape=(channels, _SIDE, _SIDE)), range=(0.0, 1.0)
    )


def _is_decoder(state: State) -> bool:
    return {"1.weight", "3.conv.0.weight", "3.conv.4.weight"} <= set(state)


def _between(number: int) -> nn.Module:
    return Clamp() if number == 0 else nn.ReLU() if number == 2 else nn.Upsample(scale_factor=2, mode="nearest")
