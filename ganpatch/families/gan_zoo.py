"""Progressive GAN and DCGAN with the tensor names of Facebook's pytorch_GAN_zoo.

Progressive: z [N, Z] -> formatLayer (4x4) -> groupScale0 -> scaleLayers.0.0, scaleLayers.0.1, … -> toRGBLayers.
DCGAN: z [N, Z] -> formatLayer (4x4) -> main.convTranspose1, … -> main.outlayer -> tanh.
"""

from collections import OrderedDict
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganpatch.families.family import Built, Wish
from ganpatch.families.shared_layers import PixelNorm, map_of, numbered
from ganpatch.generator.latents import Latent
from ganpatch.untrusted.state_dicts import State

NAME = "pytorch_GAN_zoo"

_DC = {"formatLayer.weight", "main.batchNorm0.weight", "main.outlayer.weight"}
_PROGRESSIVE = {"formatLayer.module.weight", "groupScale0.0.module.weight", "toRGBLayers.0.module.weight"}


class Equalised(nn.Module):
    """A layer whose output, including the bias, is scaled by He's constant at run time."""

    def __init__(self, state: State, name: str) -> None:
        super().__init__()
        shape = state[f"{name}.module.weight"].shape
        bias = f"{name}.module.bias" in state
        if len(shape) == 2:
            self.module: nn.Module = nn.Linear(shape[1], shape[0], bias=bias)
        else:
            self.module = nn.Conv2d(shape[1], shape[0], shape[2], padding=shape[2] // 2, bias=bias)
        self.scale = (2 / shape[1:].numel()) ** 0.5

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x) * self.scale


class ZooProgressive(nn.Module):
    """The progressive generator at its last size, with no fading between sizes."""

    def __init__(self, state: State) -> None:
        super().__init__()
        self.formatLayer = Equalised(state, "formatLayer")
        self.groupScale0 = nn.ModuleList(
            Equalised(state, f"groupScale0.{n}") for n in numbered(state, r"groupScale0\.(\d+)\.")
        )
        self.scaleLayers = nn.ModuleList(
            nn.ModuleList(
                Equalised(state, f"scaleLayers.{scale}.{n}") for n in numbered(state, rf"scaleLayers\.{scale}\.(\d+)\.")
            )
            for scale in numbered(state, r"scaleLayers\.(\d+)\.")
        )
        self.toRGBLayers = nn.ModuleList(
            Equalised(state, f"toRGBLayers.{n}") for n in numbered(state, r"toRGBLayers\.(\d+)\.")
        )
        self.leakyRelu, self.normalizationLayer = nn.LeakyReLU(0.2), PixelNorm()

    def forward(self, z: Tensor) -> Tensor:
        x = self.leakyRelu(self.formatLayer(self.normalizationLayer(z)))
        x = self.normalizationLayer(x.unflatten(1, (-1, 4, 4)))
        for group in self._groups():
            x = F.interpolate(x, scale_factor=2) if group is not self.groupScale0 else x
            for layer in group:
                x = self.normalizationLayer(self.leakyRelu(layer(x)))
        return self.toRGBLayers[-1](x)

    def _groups(self) -> Iterator[nn.ModuleList]:
        yield self.groupScale0
        yield from self.scaleLayers  # type: ignore[misc]


class ZooDCGAN(nn.Module):
    """The DCGAN, its layers called by name and number."""

    def __init__(self, state: State) -> None:
        super().__init__()
        latent, channels = state["formatLayer.weight"].shape[:2]
        self.formatLayer = nn.ConvTranspose2d(latent, channels, 4, bias=False)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["batchNorm0"], layers["relu0"] = nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
        for number in numbered(state, r"main\.convTranspose(\d+)\."):
            before, after = state[f"main.convTranspose{number}.weight"].shape[:2]
            layers[f"convTranspose{number}"] = nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False)
            layers[f"batchNorm{number}"], layers[f"relu{number}"] = nn.BatchNorm2d(after), nn.ReLU(inplace=True)
        before, after = state["main.outlayer.weight"].shape[:2]
        layers["outlayer"] = nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False)
        self.main = nn.Sequential(layers)

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(self.main(self.formatLayer(map_of(z))))


def detect(state: State) -> bool:
    """Return whether `state` has the zoo's format layer, and either kind's other layers."""
    return set(state) >= _PROGRESSIVE or set(state) >= _DC


def build(state: State, wish: Wish) -> Built:
    """Build the generator of `state`."""
    wish.without(NAME, "labels", "repo", "truncation")
    if set(state) >= _DC:
        return Built(module=ZooDCGAN(state), latent=_normal(state["formatLayer.weight"].shape[0]))
    return Built(module=ZooProgressive(state), latent=_normal(state["formatLayer.module.weight"].shape[1]))


def _normal(size: int) -> Latent:
    return Latent(kind="normal", shape=(size,))
