"""The decoder of a latent diffusion model's autoencoder, with the tensor names of diffusers: AutoencoderKL.

latent [N, 4, h, w] -> post_quant_conv -> decoder.mid_block -> decoder.up_blocks.0, … -> image [N, 3, 8h, 8w].

Latents are those of the diffusion model, with about unit variance; `scaling_factor` of config.json (default 0.18215)
undoes their scaling. Random latents give textures; --inputs reads the latents of real pictures.
"""

import re
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ganpatch.families.family import Built, Wish
from ganpatch.families.shared_layers import numbered
from ganpatch.generator.latents import Latent
from ganpatch.untrusted.state_dicts import State

NAME = "AutoencoderKL"

_SCALING = 0.18215
_SIDE = 32  # of the latent, if config.json has no size: small enough for a CPU
_OLD = ("query", "key", "value", "proj_attn")  # names before diffusers 0.18


class Residual(nn.Module):
    """Two convolutions behind GroupNorm and SiLU, added to the input."""

    def __init__(self, state: State, name: str, groups: int) -> None:
        super().__init__()
        after, before = state[f"{name}.conv1.weight"].shape[:2]
        self.norm1, self.conv1 = _group(groups, before), nn.Conv2d(before, after, 3, padding=1)
        self.norm2, self.conv2 = _group(groups, after), nn.Conv2d(after, after, 3, padding=1)
        self.nonlinearity = nn.SiLU()
        if f"{name}.conv_shortcut.weight" in state:
            self.conv_shortcut = nn.Conv2d(before, after, 1)
        self.shortcut = f"{name}.conv_shortcut.weight" in state

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(self.nonlinearity(self.norm1(x)))
        h = self.conv2(self.nonlinearity(self.norm2(h)))
        return (self.conv_shortcut(x) if self.shortcut else x) + h


class Attention(nn.Module):
    """Every pixel looks at every other, with one head."""

    def __init__(self, state: State, name: str, groups: int) -> None:
        super().__init__()
        channels = state[f"{name}.group_norm.weight"].shape[0]
        self.group_norm = _group(groups, channels)
        old = f"{name}.query.weight" in state
        names = _OLD if old else ("to_q", "to_k", "to_v")
        self.names = names[:3]
        for part in names:
            self.add_module(part, nn.Linear(channels, channels))
        self.last = "proj_attn" if old else "to_out"
        if not old:
            self.to_out = nn.ModuleList([nn.Linear(channels, channels), nn.Identity()])

    def forward(self, x: Tensor) -> Tensor:
        pixels = self.group_norm(x).flatten(2).transpose(1, 2)
        q, k, v = (self.get_submodule(part)(pixels).unsqueeze(1) for part in self.names)
        mixed = F.scaled_dot_product_attention(q, k, v).squeeze(1)
        last = self.proj_attn if self.last == "proj_attn" else self.to_out[0]
        return x + last(mixed).transpose(1, 2).unflatten(2, x.shape[2:])


class Middle(nn.Module):
    """Residual blocks with attention between them."""

    def __init__(self, state: State, name: str, groups: int) -> None:
        super().__init__()
        self.attentions = nn.ModuleList(
            Attention(state, f"{name}.attentions.{n}", groups) for n in numbered(state, rf"{name}\.attentions\.(\d+)\.")
        )
        self.resnets = _residuals(state, name, groups)

    def forward(self, x: Tensor) -> Tensor:
        x = self.resnets[0](x)
        for place, residual in enumerate(self.resnets[1:]):
            x = self.attentions[place](x) if place < len(self.attentions) else x
            x = residual(x)
        return x


class Upsampler(nn.Module):
    """Twice the size, and a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Up(nn.Module):
    """Residual blocks, and twice the size behind them except in the last."""

    def __init__(self, state: State, name: str, groups: int) -> None:
        super().__init__()
        self.resnets = _residuals(state, name, groups)
        channels = state.get(f"{name}.upsamplers.0.conv.weight")
        self.upsamplers = nn.ModuleList([] if channels is None else [Upsampler(channels.shape[0])])

    def forward(self, x: Tensor) -> Tensor:
        for layer in [*self.resnets, *self.upsamplers]:
            x = layer(x)
        return x


class Decoder(nn.Module):
    """Latent -> image."""

    def __init__(self, state: State, groups: int) -> None:
        super().__init__()
        after, before = state["decoder.conv_in.weight"].shape[:2]
        self.conv_in = nn.Conv2d(before, after, 3, padding=1)
        numbers = numbered(state, r"decoder\.up_blocks\.(\d+)\.")
        self.up_blocks = nn.ModuleList(Up(state, f"decoder.up_blocks.{n}", groups) for n in numbers)
        self.mid_block = Middle(state, "decoder.mid_block", groups)
        after, before = state["decoder.conv_out.weight"].shape[:2]
        self.conv_norm_out, self.conv_act = _group(groups, before), nn.SiLU()
        self.conv_out = nn.Conv2d(before, after, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mid_block(self.conv_in(x))
        for block in self.up_blocks:
            x = block(x)
        return self.conv_out(self.conv_act(self.conv_norm_out(x)))


class LatentDecoder(nn.Module):
    """The decoder as diffusers' `decode` runs it, for latents of a diffusion model."""

    def __init__(self, state: State, config: dict[str, Any]) -> None:
        super().__init__()
        self.scale = 1 / (config.get("scaling_factor") or _SCALING)
        self.shift = config.get("shift_factor") or 0.0
        if "post_quant_conv.weight" in state:
            after, before = state["post_quant_conv.weight"].shape[:2]
            self.post_quant_conv = nn.Conv2d(before, after, 1)
        self.quantised = "post_quant_conv.weight" in state
        self.decoder = Decoder(state, config.get("norm_num_groups") or 32)

    def forward(self, z: Tensor) -> Tensor:
        z = z * self.scale + self.shift
        return self.decoder(self.post_quant_conv(z) if self.quantised else z)


def detect(state: State) -> bool:
    """Return whether `state` has a decoder with a middle and up blocks of residual layers."""
    wanted = {"decoder.conv_in.weight", "decoder.mid_block.resnets.0.conv1.weight", "decoder.conv_norm_out.weight"}
    return wanted <= set(state) and bool(numbered(state, r"decoder\.up_blocks\.(\d+)\.resnets\.0\.conv1\.weight"))


def build(state: State, wish: Wish) -> Built:
    """Build the decoder of `state`; its latent has the size in config.json, at most 32x32."""
    wish.without(NAME, "labels", "repo", "truncation")
    config = dict(wish.config)
    channels = state["decoder.conv_in.weight"].shape[1]
    halvings = len(numbered(state, r"decoder\.up_blocks\.(\d+)\.")) - 1
    side = min(_SIDE, (config.get("sample_size") or _SIDE << halvings) >> halvings)
    latent = Latent(kind="normal", shape=(channels, side, side))
    return Built(module=LatentDecoder(state, config), latent=latent, unused=(r"encoder\.", r"quant_conv\."))


def _residuals(state: State, name: str, groups: int) -> nn.ModuleList:
    numbers = numbered(state, rf"{re.escape(name)}\.resnets\.(\d+)\.")
    return nn.ModuleList(Residual(state, f"{name}.resnets.{number}", groups) for number in numbers)


def _group(groups: int, channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(groups, channels, eps=1e-6)
