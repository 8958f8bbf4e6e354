"""BigGAN-deep with the tensor names of the package pytorch-pretrained-biggan, as converted from TensorFlow.

z [N, Z] from a truncated normal, one-hot class -> generator.gen_z (4x4) -> generator.layers.0, … -> image in [-1, 1].

The file has BatchNorm statistics for 51 truncations from 0 to 1; --truncation selects one, by default 0.4.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

from ganpatch.errors import GanpatchError
from ganpatch.families.family import Built, Wish
from ganpatch.families.shared_layers import SoftAttention, numbered
from ganpatch.generator.latents import Labels, Latent
from ganpatch.untrusted.state_dicts import State

NAME = "BigGAN-deep (pretrained)"

_TRUNCATION = 0.4
_EPS = 1e-4


def _linear(before: int, after: int, *, bias: bool = True) -> nn.Module:
    return spectral_norm(nn.Linear(before, after, bias=bias), eps=_EPS)


def _conv(before: int, after: int, kernel: int, *, bias: bool = True) -> nn.Module:
    return spectral_norm(nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=bias), eps=_EPS)


class Norm(nn.Module):
    """BatchNorm with the statistics of one truncation; gain and bias from the condition [N, Y], or its own."""

    running_means: Tensor
    running_vars: Tensor

    def __init__(self, shape: Sequence[int], condition: int, truncation: float) -> None:
        super().__init__()
        steps, channels = shape
        self.register_buffer("running_means", torch.zeros(steps, channels))
        self.register_buffer("running_vars", torch.ones(steps, channels))
        share, step = math.modf(truncation * (steps - 1))
        self.share, self.step = share, int(step)
        self.conditional = bool(condition)
        if condition:
            self.scale, self.offset = (_linear(condition, channels, bias=False) for _ in range(2))
        else:
            self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        mean, variance = self._at(self.running_means), self._at(self.running_vars)
        if not self.conditional:
            return F.batch_norm(x, mean, variance, self.weight, self.bias, eps=_EPS)
        normal = F.batch_norm(x, mean, variance, eps=_EPS)
        return normal * (1 + self.scale(y))[:, :, None, None] + self.offset(y)[:, :, None, None]

    def _at(self, table: Tensor) -> Tensor:
        """Return the row of the truncation; between two rows, interpolate as the package does."""
        if not self.share:
            return table[self.step]
        return table[self.step] * self.share + table[self.step + 1] * (1 - self.share)


class Block(nn.Module):
    """Four convolutions through a narrow middle, added to the input with some of its channels dropped."""

    def __init__(self, state: State, name: str, truncation: float, *, up: bool) -> None:
        super().__init__()
        condition = state[f"{name}.bn_0.scale.weight_orig"].shape[1]
        for number in range(4):
            after, before, kernel, _ = state[f"{name}.conv_{number}.weight_orig"].shape
            statistics = state[f"{name}.bn_{number}.running_means"].shape
            self.add_module(f"bn_{number}", Norm(statistics, condition, truncation))
            self.add_module(f"conv_{number}", _conv(before, after, kernel))
        self.relu = nn.ReLU()
        self.up, self.channels = up, state[f"{name}.conv_3.weight_orig"].shape[0]

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        h = self.conv_0(self.relu(self.bn_0(x, y)))
        h, x = self.relu(self.bn_1(h, y)), x[:, : self.channels]
        if self.up:
            h, x = F.interpolate(h, scale_factor=2), F.interpolate(x, scale_factor=2)
        h = self.conv_2(self.relu(self.bn_2(self.conv_1(h), y)))
        return self.conv_3(self.relu(self.bn_3(h, y))) + x


class Attention(SoftAttention):
    """Self-attention, added with a learned weight."""

    def __init__(self, state: State, name: str) -> None:
        super().__init__()
        for part in ("theta", "phi", "g", "o_conv"):
            after, before = state[f"{name}.snconv1x1_{part}.weight_orig"].shape[:2]
            self.add_module(f"snconv1x1_{part}", _conv(before, after, 1, bias=False))
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, _y: Tensor) -> Tensor:
        mixed = self.attend(self.snconv1x1_theta(x), self.snconv1x1_phi(x), self.snconv1x1_g(x))
        return x + self.gamma * self.snconv1x1_o_conv(mixed)


class Drawing(nn.Module):
    """The condition (latent and embedded class) -> image."""

    def __init__(self, state: State, ups: Mapping[int, bool], truncation: float) -> None:
        super().__init__()
        after, before = state["generator.gen_z.weight_orig"].shape
        self.channels = after // 16
        self.gen_z = _linear(before, after)
        layers: list[nn.Module] = []
        for number in numbered(state, r"generator\.layers\.(\d+)\."):
            name = f"generator.layers.{number}"
            attention = f"{name}.gamma" in state
            layers.append(
                Attention(state, name) if attention else Block(state, name, truncation, up=ups.get(number, False))
            )
        self.layers = nn.ModuleList(layers)
        self.bn = Norm(state["generator.bn.running_means"].shape, 0, truncation)
        self.relu, self.tanh = nn.ReLU(), nn.Tanh()
        after, before = state["generator.conv_to_rgb.weight_orig"].shape[:2]
        self.conv_to_rgb = _conv(before, after, 3)

    def forward(self, y: Tensor) -> Tensor:
        x = self.gen_z(y).unflatten(1, (4, 4, self.channels)).permute(0, 3, 1, 2)
        for layer in self.layers:
            x = layer(x, y)
        return self.tanh(self.conv_to_rgb(self.relu(self.bn(x)))[:, :3])


class PretrainedBigGAN(nn.Module):
    """The embedding of classes, and the generator."""

    def __init__(self, state: State, ups: Mapping[int, bool], truncation: float) -> None:
        super().__init__()
        width, classes = state["embeddings.weight"].shape
        self.embeddings = nn.Linear(classes, width, bias=False)
        self.generator = Drawing(state, ups, truncation)

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        return self.generator(torch.cat((z, self.embeddings(label)), 1))


def detect(state: State) -> bool:
    """Return whether `state` has the package's embeddings and generator."""
    return {"embeddings.weight", "generator.gen_z.weight_orig", "generator.bn.running_means"} <= set(state)


def build(state: State, wish: Wish) -> Built:
    """Build the generator of `state`; without config.json, every second block doubles the size."""
    wish.without(NAME, "repo")
    truncation = _TRUNCATION if wish.truncation is None else wish.truncation
    if not 0 < truncation <= 1:
        raise GanpatchError(f"--truncation {truncation:g} is outside (0, 1]")
    width, classes = state["embeddings.weight"].shape
    size = state["generator.gen_z.weight_orig"].shape[1] - width
    module = PretrainedBigGAN(state, _ups(state, wish.config), truncation)
    latent = Latent(kind="truncated", scale=truncation, shape=(size,))
    return Built(module=module, latent=latent, labels=Labels.all_of("onehot", classes))


def _ups(state: State, config: Mapping[str, Any]) -> dict[int, bool]:
    """Return for every block whether it doubles the size."""
    numbers = numbered(state, r"generator\.layers\.(\d+)\.conv_0\.")
    given = config.get("layers")
    if isinstance(given, list) and len(given) == len(numbers):
        return {number: bool(layer[0]) for number, layer in zip(numbers, given, strict=True)}
    return {number: place % 2 == 1 for place, number in enumerate(numbers)}
