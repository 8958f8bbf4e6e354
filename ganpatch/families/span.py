"""SPAN upscalers (Wan et al. 2024): six blocks whose output is gated by its own sigmoid.

image [N, 3, h, w] in 0..1 -> conv_1 -> block_1 … block_6 -> conv_2, joined with early maps -> pixel shuffle -> image.

Each 3x3 convolution of the network is three in a row beside a 1x1 one (`conv`, `sk`), which training adds up to a
single one (`eval_conv`). The file holds both; the authors' code computes `eval_conv` again from the others whenever it
runs, so the others are what counts here, and what a repair changes.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganpatch.families.family import Built, Wish
from ganpatch.families.shared_layers import conv_like
from ganpatch.generator.input_files import Images
from ganpatch.untrusted.state_dicts import State

NAME = "SPAN"

_SIDE = 64
_MEAN, _LIMIT = (0.4488, 0.4371, 0.4040), 255.0
_BLOCKS = range(1, 7)


class SummedConvolution(nn.Module):
    """Three convolutions in a row, plus a 1x1 one; or the single one, in a file without the others."""

    def __init__(self, state: State, name: str) -> None:
        super().__init__()
        if f"{name}.eval_conv.weight" in state:
            self.eval_conv = conv_like(state, f"{name}.eval_conv")
        self.summed = f"{name}.sk.weight" in state
        if self.summed:
            self.sk = conv_like(state, f"{name}.sk")
            self.conv = nn.Sequential(*(conv_like(state, f"{name}.conv.{number}", padding=0) for number in range(3)))

    def forward(self, x: Tensor) -> Tensor:
        if not self.summed:
            return self.eval_conv(x)
        return self.conv(F.pad(x, (1, 1, 1, 1))) + self.sk(x)


class GatedBlock(nn.Module):
    """Three convolutions; the last, plus the input, times its own sigmoid minus a half."""

    def __init__(self, state: State, name: str) -> None:
        super().__init__()
        self.c1_r = SummedConvolution(state, f"{name}.c1_r")
        self.c2_r = SummedConvolution(state, f"{name}.c2_r")
        self.c3_r = SummedConvolution(state, f"{name}.c3_r")
        self.act1 = nn.SiLU()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first = self.act1(self.c1_r(x))
        last = self.c3_r(self.act1(self.c2_r(first)))
        return (last + x) * (torch.sigmoid(last) - 0.5), first


class SpanUpscaler(nn.Module):
    """The whole network; without the tensor `no_norm` it subtracts a mean colour and scales to 255 first."""

    mean: Tensor

    def __init__(self, state: State, scale: int) -> None:
        super().__init__()
        self.conv_1 = SummedConvolution(state, "conv_1")
        for number in _BLOCKS:
            self.add_module(f"block_{number}", GatedBlock(state, f"block_{number}"))
        self.conv_cat, self.conv_2 = conv_like(state, "conv_cat"), SummedConvolution(state, "conv_2")
        self.upsampler = nn.Sequential(conv_like(state, "upsampler.0"), nn.PixelShuffle(scale))
        self.normed = "no_norm" not in state
        if not self.normed:
            self.register_buffer("no_norm", torch.zeros_like(state["no_norm"]))
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        first = self.conv_1((x - self.mean) * _LIMIT if self.normed else x)
        ends, early, y = [], first, first
        for number in _BLOCKS:
            y, early = self.get_submodule(f"block_{number}")(y)
            ends.append(y)
        return self.upsampler(self.conv_cat(torch.cat((first, self.conv_2(y), ends[0], early), 1)))


def detect(state: State) -> bool:
    """Return whether `state` has the blocks and the joining convolution."""
    inner = ("block_1.c1_r.sk.weight", "block_1.c1_r.eval_conv.weight")
    return {"conv_cat.weight", "upsampler.0.weight"} <= set(state) and any(name in state for name in inner)


def build(state: State, wish: Wish) -> Built:
    """Build the network of `state`, with the scale of its last convolution."""
    wish.without(NAME, "labels", "repo", "truncation")
    first = state["conv_1.sk.weight" if "conv_1.sk.weight" in state else "conv_1.eval_conv.weight"]
    channels = first.shape[1]
    module = SpanUpscaler(state, math.isqrt(state["upsampler.0.weight"].shape[0] // channels))
    return Built(module=module, latent=Images(shape=(channels, _SIDE, _SIDE), cropped=True), range=(0.0, 1.0))
