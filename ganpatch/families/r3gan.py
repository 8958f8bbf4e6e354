"""R3GAN (Huang et al. 2024), from its state dicts or the plain pickles of its training code.

z [N, 64] (and an embedded class) -> MainLayers.0 (a learned 4x4 basis), MainLayers.1, … each at twice the size ->
 image [N, 3, H, W]. Stages that the authors run in bfloat16 run in float32 here.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganpatch.families.family import Built, Wish
from ganpatch.families.shared_layers import conv_like, numbered
from ganpatch.generator.latents import Labels, Latent
from ganpatch.untrusted.state_dicts import State

NAME = "R3GAN"


class Convolution(nn.Module):
    """A convolution under the name Layer."""

    def __init__(self, state: State, name: str, groups: int = 1) -> None:
        super().__init__()
        self.Layer = conv_like(state, f"{name}.Layer", groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        return self.Layer(x)


class BiasedActivation(nn.Module):
    """A bias and a rectifier: [N, C, h, w]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.Bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x + self.Bias.view(1, -1, 1, 1), 0.2)


class ResidualBlock(nn.Module):
    """1x1, grouped 3x3 and 1x1 convolutions, added to the input."""

    def __init__(self, state: State, name: str) -> None:
        super().__init__()
        inner = state[f"{name}.LinearLayer2.Layer.weight"]
        self.LinearLayer1 = Convolution(state, f"{name}.LinearLayer1")
        self.LinearLayer2 = Convolution(state, f"{name}.LinearLayer2", inner.shape[0] // inner.shape[1])
        self.LinearLayer3 = Convolution(state, f"{name}.LinearLayer3")
        self.NonLinearity1 = BiasedActivation(inner.shape[0])
        self.NonLinearity2 = BiasedActivation(inner.shape[0])

    def forward(self, x: Tensor) -> Tensor:
        y = self.LinearLayer2(self.NonLinearity1(self.LinearLayer1(x)))
        return x + self.LinearLayer3(self.NonLinearity2(y))


class Basis(nn.Module):
    """Learned 4x4 maps, each scaled by a linear function of z."""

    def __init__(self, state: State, name: str) -> None:
        super().__init__()
        after, before = state[f"{name}.LinearLayer.weight"].shape
        self.Basis = nn.Parameter(torch.zeros(state[f"{name}.Basis"].shape))
        self.LinearLayer = nn.Linear(before, after, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        return self.Basis * self.LinearLayer(z)[:, :, None, None]


class Resampler(nn.Module):
    """Twice the size, with a smoothing kernel [k, k]."""

    Kernel: Tensor

    def __init__(self, kernel: Tensor) -> None:
        super().__init__()
        self.register_buffer("Kernel", torch.zeros(kernel.shape))

    def forward(self, x: Tensor) -> Tensor:
        channels, size = x.shape[1], self.Kernel.shape[0]
        kernel = (4 * self.Kernel).expand(channels, 1, -1, -1)
        return F.conv_transpose2d(x, kernel, stride=2, padding=size // 2 - 1, groups=channels)


class Upsampling(nn.Module):
    """Another number of channels, where it changes, and twice the size."""

    def __init__(self, state: State, name: str) -> None:
        super().__init__()
        self.Resampler = Resampler(state[f"{name}.Resampler.Kernel"])
        changes = f"{name}.LinearLayer.Layer.weight" in state
        self.LinearLayer = Convolution(state, f"{name}.LinearLayer") if changes else None

    def forward(self, x: Tensor) -> Tensor:
        return self.Resampler(x if self.LinearLayer is None else self.LinearLayer(x))


class Stage(nn.Module):
    """A transition, and blocks, at one size."""

    def __init__(self, state: State, name: str) -> None:
        super().__init__()
        first = (
            Basis(state, f"{name}.Layers.0")
            if f"{name}.Layers.0.Basis" in state
            else Upsampling(state, f"{name}.Layers.0")
        )
        blocks = numbered(state, rf"{name}\.Layers\.(\d+)\.LinearLayer1")
        self.Layers = nn.ModuleList([first, *(ResidualBlock(state, f"{name}.Layers.{number}") for number in blocks)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.Layers:
            x = layer(x)
        return x


class R3Generator(nn.Module):
    """The stages, and a 1x1 convolution to colours."""

    def __init__(self, state: State, embedding: tuple[int, int] | None) -> None:
        super().__init__()
        self.MainLayers = nn.ModuleList(
            Stage(state, f"MainLayers.{number}") for number in numbered(state, r"MainLayers\.(\d+)\.")
        )
        self.AggregationLayer = Convolution(state, "AggregationLayer")
        self.EmbeddingLayer = None if embedding is None else nn.Linear(embedding[1], embedding[0], bias=False)

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        x = z if self.EmbeddingLayer is None else torch.cat((z, self.EmbeddingLayer(label)), 1)
        for layer in self.MainLayers:
            x = layer(x)
        return self.AggregationLayer(x)


def detect(state: State) -> bool:
    """Return whether `state` has the learned basis of the first stage, and the last convolution."""
    return {
        "MainLayers.0.Layers.0.Basis",
        "MainLayers.0.Layers.0.LinearLayer.weight",
        "AggregationLayer.Layer.weight",
    } <= set(state)


def build(state: State, wish: Wish) -> Built:
    """Build the generator of `state`; its classes are those of its embedding."""
    wish.without(NAME, "repo", "truncation")
    embedding = state.get("EmbeddingLayer.weight")
    width, classes = (0, 0) if embedding is None else embedding.shape
    inputs = state["MainLayers.0.Layers.0.LinearLayer.weight"].shape[1]
    module = R3Generator(state, None if embedding is None else (width, classes))
    labels = Labels.all_of("onehot", classes) if classes else None
    return Built(module=module, latent=Latent(kind="normal", shape=(inputs - width,)), labels=labels)
