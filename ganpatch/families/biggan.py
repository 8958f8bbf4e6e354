"""BigGAN and BigGAN-deep (Brock et al. 2019) with the tensor names of ajbrock's implementation.

z [N, Z], class -> linear (4x4) -> blocks.0.0, blocks.1.0, … (some with attention behind) -> output_layer -> tanh.

A class is drawn as an index; `shared` embeds it, as the training code does before it calls the generator. Spectral norm
divides a weight by a singular value that depends on the weight itself, so an edit that would fold into such a weight is
inserted instead.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganpatch.families.family import Built, Wish
from ganpatch.families.shared_layers import SoftAttention, numbered
from ganpatch.generator.latents import Labels, Latent
from ganpatch.untrusted.state_dicts import State

NAME = "BigGAN"

_EPS_NORM, _EPS_SPECTRAL = 1e-5, 1e-12


class Normalised(nn.Module):
    """A convolution or a linear layer; its weight is divided by its largest singular value if the file has `u0`."""

    u0: Tensor

    def __init__(self, state: State, name: str) -> None:
        super().__init__()
        shape = state[f"{name}.weight"].shape
        self.weight = nn.Parameter(torch.randn(shape))
        self.bias = nn.Parameter(torch.zeros(shape[0])) if f"{name}.bias" in state else None
        self.spectral = f"{name}.u0" in state
        if self.spectral:
            self.register_buffer("u0", torch.randn(state[f"{name}.u0"].shape))
            self.register_buffer("sv0", torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight / self._largest() if self.spectral else self.weight
        if weight.ndim == 2:
            return F.linear(x, weight, self.bias)
        return F.conv2d(x, weight, self.bias, padding=weight.shape[2] // 2)

    def _largest(self) -> Tensor:
        """Estimate the largest singular value by one step from `u0`."""
        matrix = self.weight.flatten(1)
        v = F.normalize(self.u0 @ matrix, eps=_EPS_SPECTRAL)
        image = v @ matrix.t()
        return (image * F.normalize(image, eps=_EPS_SPECTRAL)).sum()


class ConditionalNorm(nn.Module):
    """BatchNorm whose gain and bias come from the class, which is embedded already or by an embedding of its own."""

    def __init__(self, state: State, name: str, *, embedded: bool) -> None:
        super().__init__()
        for part in ("gain", "bias"):
            shape = state[f"{name}.{part}.weight"].shape
            self.add_module(part, Normalised(state, f"{name}.{part}") if embedded else nn.Embedding(*shape))
        _add_statistics(self, state, name)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return _normalised(self, x) * (1 + self.gain(y))[:, :, None, None] + self.bias(y)[:, :, None, None]


class PlainNorm(nn.Module):
    """BatchNorm with `gain` and `bias` of its own."""

    def __init__(self, state: State, name: str) -> None:
        super().__init__()
        channels = len(state[f"{name}.gain"])
        self.gain, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        _add_statistics(self, state, name)

    def forward(self, x: Tensor) -> Tensor:
        return _normalised(self, x) * self.gain[:, None, None] + self.bias[:, None, None]


class Block(nn.Module):
    """BigGAN's residual block, which doubles the size: two convolutions, and one on the way around."""

    def __init__(self, state: State, name: str) -> None:
        super().__init__()
        self.conv1, self.conv2 = Normalised(state, f"{name}.conv1"), Normalised(state, f"{name}.conv2")
        self.conv_sc = Normalised(state, f"{name}.conv_sc")
        self.bn1, self.bn2 = (_conditional(state, f"{name}.bn{n}") for n in (1, 2))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        h = F.interpolate(F.relu(self.bn1(x, y)), scale_factor=2)
        h = self.conv2(F.relu(self.bn2(self.conv1(h), y)))
        return h + self.conv_sc(F.interpolate(x, scale_factor=2))


class DeepBlock(nn.Module):
    """BigGAN-deep's residual block: four convolutions through a narrow middle; channels are dropped, not convolved."""

    def __init__(self, state: State, name: str, *, up: bool) -> None:
        super().__init__()
        for number in range(1, 5):
            self.add_module(f"conv{number}", Normalised(state, f"{name}.conv{number}"))
            self.add_module(f"bn{number}", _conditional(state, f"{name}.bn{number}"))
        self.up, self.channels = up, state[f"{name}.conv4.weight"].shape[0]

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        h = self.conv1(F.relu(self.bn1(x, y)))
        h, x = F.relu(self.bn2(h, y)), x[:, : self.channels]
        if self.up:
            h, x = F.interpolate(h, scale_factor=2), F.interpolate(x, scale_factor=2)
        h = self.conv3(F.relu(self.bn3(self.conv2(h), y)))
        return self.conv4(F.relu(self.bn4(h, y))) + x


class Attention(SoftAttention):
    """Self-attention (Zhang et al. 2019), added with a learned weight."""

    def __init__(self, state: State, name: str) -> None:
        super().__init__()
        self.theta, self.phi, self.g, self.o = (
            Normalised(state, f"{name}.{part}") for part in ("theta", "phi", "g", "o")
        )
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, _y: Tensor) -> Tensor:
        return self.gamma * self.o(self.attend(self.theta(x), self.phi(x), self.g(x))) + x


class BigGANGenerator(nn.Module):
    """The generator that the tensors of `state` describe."""

    def __init__(self, state: State, *, pieces: int) -> None:
        super().__init__()
        self.pieces, self.deep = pieces, "blocks.0.0.conv4.weight" in state
        if "shared.weight" in state:
            self.shared = nn.Embedding(*state["shared.weight"].shape)
        self.linear = Normalised(state, "linear")
        channels = state["blocks.0.0.conv1.weight"].shape[1]
        self.width = round((state["linear.weight"].shape[0] / channels) ** 0.5)
        self.blocks = nn.ModuleList(_stage(state, number) for number in numbered(state, r"blocks\.(\d+)\."))
        norm, out = PlainNorm(state, "output_layer.0"), Normalised(state, "output_layer.2")
        self.output_layer = nn.Sequential(norm, nn.ReLU(), out)

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        y = self.shared(label) if hasattr(self, "shared") else label
        parts = list(z.chunk(self.pieces, 1))
        if self.pieces > 1:
            ys, x = [torch.cat((y, part), 1) for part in parts[1:]], parts[0]
        elif self.deep and self.linear.weight.shape[1] > z.shape[1]:
            x = torch.cat((y, z), 1)
            ys = [x] * len(self.blocks)
        else:
            ys, x = [y] * len(self.blocks), z
        h = self.linear(x).unflatten(1, (-1, self.width, self.width))
        for stage, condition in zip(self.blocks, ys, strict=True):
            for layer in stage:  # type: ignore[attr-defined]
                h = layer(h, condition)
        return torch.tanh(self.output_layer(h))


def detect(state: State) -> bool:
    """Return whether `state` has a linear layer, nested residual blocks and an output layer of ajbrock's names."""
    return {"linear.weight", "blocks.0.0.conv1.weight", "blocks.0.0.bn1.gain.weight", "output_layer.0.gain"} <= set(
        state
    )


def build(state: State, wish: Wish) -> Built:
    """Build the generator of `state`; `hier` models take one latent that is split into parts, one per block."""
    wish.without(NAME, "repo")
    inputs = state["linear.weight"].shape[1]
    gain = state["blocks.0.0.bn1.gain.weight"]
    stages = len(numbered(state, r"blocks\.(\d+)\."))
    deep = "blocks.0.0.conv4.weight" in state
    if "shared.weight" in state:
        classes, width = state["shared.weight"].shape
        extra = gain.shape[1] - width  # in addition to the class, a part of the latent
        pieces = stages + 1 if extra and not deep else 1
        size = inputs - width if deep and extra else inputs * pieces
    else:
        classes, pieces, size = gain.shape[0], 1, inputs
    latent = Latent(kind="truncated" if wish.truncation else "normal", shape=(size,), scale=wish.truncation or 1.0)
    module = BigGANGenerator(state, pieces=pieces)
    return Built(module=module, latent=latent, labels=Labels.all_of("index", classes))


def _conditional(state: State, name: str) -> ConditionalNorm:
    return ConditionalNorm(state, name, embedded="shared.weight" in state)


def _stage(state: State, number: int) -> nn.ModuleList:
    name = f"blocks.{number}"
    if f"{name}.0.conv4.weight" in state:
        stage: list[nn.Module] = [DeepBlock(state, f"{name}.0", up=number % 2 == 1)]
    else:
        stage = [Block(state, f"{name}.0")]
    if f"{name}.1.gamma" in state:
        stage.append(Attention(state, f"{name}.1"))
    return nn.ModuleList(stage)


def _add_statistics(layer: nn.Module, state: State, name: str) -> None:
    """Register the stored mean and variance as in the file: at the layer, or in its `bn`."""
    holder, place = layer, name
    if f"{name}.bn.stored_mean" in state:
        holder, place = nn.Module(), f"{name}.bn"
        layer.add_module("bn", holder)
    for part in ("stored_mean", "stored_var", "accumulation_counter"):
        if f"{place}.{part}" in state:
            holder.register_buffer(part, torch.ones(state[f"{place}.{part}"].shape))


def _normalised(layer: nn.Module, x: Tensor) -> Tensor:
    holder: nn.Module = getattr(layer, "bn", layer)
    mean, variance = holder.get_buffer("stored_mean"), holder.get_buffer("stored_var")
    return F.batch_norm(x, mean, variance, eps=_EPS_NORM)
