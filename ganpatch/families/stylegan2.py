"""StyleGAN2 (Karras et al. 2020) with the tensor names of rosinality's implementation.

z [N, Z] -> style -> a learned 4x4 map -> conv1, convs.0, convs.1, … with to_rgbs in between -> image [N, 3, H, W].

Styles scale the input of a convolution and demodulation its output, each separately, so an export allows any batch
size. The noise of each layer is that of the checkpoint (`noises`), the same for every image.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganpatch.families.family import Built, Wish
from ganpatch.families.shared_layers import PixelNorm, Truncation, numbered
from ganpatch.generator.latents import Latent
from ganpatch.untrusted.state_dicts import State

NAME = "StyleGAN2 (rosinality)"

_MAPPING_RATE = 0.01  # the mapping network's learning rate, which scales its weights at run time


class EqualLinear(nn.Module):
    """A linear layer whose weight is scaled at run time; with a leaky rectifier where `rectified`."""

    def __init__(self, before: int, after: int, *, rate: float = 1.0, rectified: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(after, before) / rate)
        self.bias = nn.Parameter(torch.zeros(after))
        self.scale, self.rate, self.rectified = rate * before**-0.5, rate, rectified

    def forward(self, x: Tensor) -> Tensor:
        y = F.linear(x, self.weight * self.scale, self.bias * self.rate)
        return F.leaky_relu(y, 0.2) * 2**0.5 if self.rectified else y


class Smooth(nn.Module):
    """A convolution of every channel with the one `kernel` [4, 4] of the checkpoint; `up` doubles the size as well."""

    kernel: Tensor

    def __init__(self, size: int, *, up: bool) -> None:
        super().__init__()
        self.register_buffer("kernel", torch.ones(size, size))
        self.up = up

    def forward(self, x: Tensor) -> Tensor:
        maps, kernel = x.reshape(-1, 1, *x.shape[2:]), self.kernel[None, None]
        if self.up:
            y = F.conv_transpose2d(maps, kernel, stride=2, padding=1)
        else:
            y = F.conv2d(F.pad(maps, (1, 1, 1, 1)), kernel.flip(2, 3))
        return y.reshape(-1, x.shape[1], *y.shape[2:])


class ModulatedConv(nn.Module):
    """A convolution whose input channels are scaled by a style, and whose output is rescaled to unit variance."""

    def __init__(self, shape: tuple[int, ...], style: int, *, up: int, demodulate: bool) -> None:
        super().__init__()
        _, _, before, kernel, _ = shape
        self.weight = nn.Parameter(torch.randn(shape))
        self.modulation = EqualLinear(style, before)
        if up:
            self.blur = Smooth(up, up=False)
        self.up, self.demodulate, self.padding = bool(up), demodulate, kernel // 2
        self.scale = (before * kernel**2) ** -0.5

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style, weight = self.modulation(w), self.weight[0] * self.scale
        x = x * style[:, :, None, None]
        if self.up:
            y = self.blur(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2))
        else:
            y = F.conv2d(x, weight, padding=self.padding)
        if not self.demodulate:
            return y
        energy = F.linear(style.square(), weight.square().sum([2, 3]))
        return y * (energy + 1e-8).rsqrt()[:, :, None, None]


class NoiseStrength(nn.Module):
    """Add a noise map [1, 1, h, w] of a learned strength."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        return x + self.weight * noise


class BiasedRelu(nn.Module):
    """A bias and a leaky rectifier that keeps the variance."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x + self.bias[:, None, None], 0.2) * 2**0.5


class StyledConv(nn.Module):
    """Modulated convolution, noise, rectifier."""

    def __init__(self, state: State, name: str, style: int) -> None:
        super().__init__()
        shape = tuple(state[f"{name}.conv.weight"].shape)
        self.conv = ModulatedConv(shape, style, up=_kernel(state, f"{name}.conv.blur.kernel"), demodulate=True)
        self.noise = NoiseStrength()
        self.activate = BiasedRelu(shape[1])

    def forward(self, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
        return self.activate(self.noise(self.conv(x, w), noise))


class ToRGB(nn.Module):
    """A layer's contribution to the image, on top of the one from the size below."""

    def __init__(self, state: State, name: str, style: int) -> None:
        super().__init__()
        if kernel := _kernel(state, f"{name}.upsample.kernel"):
            self.upsample = Smooth(kernel, up=True)
        shape = tuple(state[f"{name}.conv.weight"].shape)
        self.conv = ModulatedConv(shape, style, up=0, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(1, shape[1], 1, 1))

    def forward(self, x: Tensor, w: Tensor, below: Tensor | None = None) -> Tensor:
        y = self.conv(x, w) + self.bias
        return y if below is None else y + self.upsample(below)


class ConstantInput(nn.Module):
    """The learned map that every image starts from."""

    def __init__(self, shape: torch.Size) -> None:
        super().__init__()
        self.input = nn.Parameter(torch.randn(shape))

    def forward(self, w: Tensor) -> Tensor:
        return self.input.expand(w.shape[0], -1, -1, -1)


class StyleGAN2Generator(nn.Module):
    """The generator that the tensors of `state` describe."""

    def __init__(self, state: State, psi: float | None) -> None:
        super().__init__()
        latent = state["style.1.weight"].shape[1]
        self.latent = latent
        depth = len(numbered(state, r"style\.(\d+)\.weight"))
        mapping = [EqualLinear(latent, latent, rate=_MAPPING_RATE, rectified=True) for _ in range(depth)]
        self.style = nn.Sequential(PixelNorm(), *mapping)
        self.input = ConstantInput(state["input.input"].shape)
        self.conv1, self.to_rgb1 = StyledConv(state, "conv1", latent), ToRGB(state, "to_rgb1", latent)
        convs, images = numbered(state, r"convs\.(\d+)\."), numbered(state, r"to_rgbs\.(\d+)\.")
        self.convs = nn.ModuleList(StyledConv(state, f"convs.{number}", latent) for number in convs)
        self.to_rgbs = nn.ModuleList(ToRGB(state, f"to_rgbs.{number}", latent) for number in images)
        self.noises = nn.Module()
        for number in numbered(state, r"noises\.noise_(\d+)"):
            name = f"noise_{number}"
            self.noises.register_buffer(name, torch.zeros(state[f"noises.{name}"].shape))
        self.truncation = None if psi is None else Truncation(latent, psi)

    def settle(self) -> None:
        """Compute the mean latent for truncation, once the weights are loaded."""
        if self.truncation is not None:
            self.truncation.settle(self.style, self.latent)

    def forward(self, z: Tensor) -> Tensor:
        w = self.style(z)
        if self.truncation is not None:
            w = self.truncation(w)
        noise = list(self.noises.buffers())
        x = self.conv1(self.input(w), w, noise[0])
        image = self.to_rgb1(x, w)
        for place, to_rgb in enumerate(self.to_rgbs):
            x = self.convs[2 * place](x, w, noise[2 * place + 1])
            x = self.convs[2 * place + 1](x, w, noise[2 * place + 2])
            image = to_rgb(x, w, image)
        return image


def detect(state: State) -> bool:
    """Return whether `state` has a mapping network `style`, a learned input and rosinality's modulated convolutions."""
    wanted = {"style.1.weight", "input.input", "conv1.conv.modulation.weight", "to_rgb1.bias", "noises.noise_0"}
    return wanted <= set(state) and state["conv1.conv.weight"].ndim == 5


def build(state: State, wish: Wish) -> Built:
    """Build the generator of `state`."""
    wish.without(NAME, "labels", "repo")
    module = StyleGAN2Generator(state, wish.truncation)
    return Built(module=module, latent=Latent(kind="normal", shape=(module.latent,)), finish=module.settle)


def _kernel(state: State, name: str) -> int:
    return state[name].shape[0] if name in state else 0
