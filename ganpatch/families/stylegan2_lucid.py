"""StyleGAN2 with the tensor names of lucidrains' stylegan2_pytorch: SE maps z to w, GE draws (the averaged networks).

z [N, Z] -> SE -> a learned 4x4 map -> GE.blocks.0, GE.blocks.1, … -> image [N, 3 or 4, H, W] in [0, 1].

The noise image, which training draws for each image, is one fixed image. The rest of the file (S, G without averaging,
the discriminator) is not used, and stays unchanged in a repaired file.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganpatch.errors import GanpatchError
from ganpatch.families.family import Built, Wish
from ganpatch.families.shared_layers import Truncation, numbered
from ganpatch.generator.latents import Latent
from ganpatch.untrusted.state_dicts import State

NAME = "StyleGAN2 (lucidrains)"

_MAPPING_RATE = 0.1
_HEADS = 8


class Scaled(nn.Linear):
    """A linear layer of the mapping network, scaled at run time."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * _MAPPING_RATE, self.bias * _MAPPING_RATE)


class Mapping(nn.Module):
    """z [N, Z] -> w [N, Z]."""

    def __init__(self, size: int, depth: int) -> None:
        super().__init__()
        layers = [layer for _ in range(depth) for layer in (Scaled(size, size), nn.LeakyReLU(0.2))]
        self.net = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        return self.net(F.normalize(z, dim=1))


class Modulated(nn.Module):
    """A convolution scaled by 1 + style at its input and, with `demodulate`, back to unit variance at its output."""

    def __init__(self, shape: Sequence[int], *, demodulate: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(*shape))
        self.demodulate = demodulate

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        style = style + 1
        y = F.conv2d(x * style[:, :, None, None], self.weight, padding=self.weight.shape[2] // 2)
        if not self.demodulate:
            return y
        energy = F.linear(style.square(), self.weight.square().sum([2, 3]))
        return y * (energy + 1e-8).rsqrt()[:, :, None, None]


class Blur(nn.Module):
    """Smooth with the outer product of `f` [3], mirrored at the edges."""

    f: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("f", torch.tensor([1.0, 2.0, 1.0]))

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.f[None, :] * self.f[:, None]
        kernel = (kernel / kernel.abs().sum())[None, None]
        maps = F.pad(x, (1, 1, 1, 1), mode="reflect").reshape(-1, 1, x.shape[2] + 2, x.shape[3] + 2)
        return F.conv2d(maps, kernel).reshape(x.shape)


class ImageBlock(nn.Module):
    """What a block adds to the image; all but the last double its size."""

    def __init__(self, style: int, shape: Sequence[int], *, up: bool) -> None:
        super().__init__()
        self.to_style = nn.Linear(style, shape[1])
        self.conv = Modulated(shape, demodulate=False)
        if up:
            self.upsample = nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False), Blur())
        self.up = up

    def forward(self, x: Tensor, image: Tensor | None, w: Tensor) -> Tensor:
        y = self.conv(x, self.to_style(w))
        y = y if image is None else y + image
        return self.upsample(y) if self.up else y


class Block(nn.Module):
    """Two modulated convolutions with noise and rectifier, and what they add to the image."""

    def __init__(self, state: State, name: str, *, first: bool) -> None:
        super().__init__()
        one, two = state[f"{name}.conv1.weight"].shape, state[f"{name}.conv2.weight"].shape
        style = state[f"{name}.to_style1.weight"].shape[1]
        if not first:
            self.upsample = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.first = first
        self.to_style1, self.to_noise1 = nn.Linear(style, one[1]), nn.Linear(1, one[0])
        self.conv1 = Modulated(one, demodulate=True)
        self.to_style2, self.to_noise2 = nn.Linear(style, two[1]), nn.Linear(1, two[0])
        self.conv2 = Modulated(two, demodulate=True)
        self.activation = nn.LeakyReLU(0.2)
        image = f"{name}.to_rgb"
        self.to_rgb = ImageBlock(style, state[f"{image}.conv.weight"].shape, up=f"{image}.upsample.1.f" in state)

    def forward(self, x: Tensor, image: Tensor | None, w: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        x = x if self.first else self.upsample(x)
        noise = noise[:, : x.shape[2], : x.shape[3]]
        x = self.conv1(x, self.to_style1(w))
        x = self.activation(x + self.to_noise1(noise).permute(0, 3, 2, 1))
        x = self.conv2(x, self.to_style2(w))
        x = self.activation(x + self.to_noise2(noise).permute(0, 3, 2, 1))
        return x, self.to_rgb(x, image, w)


class DepthWise(nn.Module):
    """A 3x3 convolution of each channel alone and a 1x1 of all, without biases."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        alone = nn.Conv2d(before, before, 3, padding=1, groups=before, bias=False)
        self.net = nn.Sequential(alone, nn.Conv2d(before, after, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class LinearAttention(nn.Module):
    """Attention whose cost grows with the pixels, not with their square."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.to_q = nn.Conv2d(channels, inner, 1, bias=False)
        self.to_kv = DepthWise(channels, 2 * inner)
        self.to_out = nn.Conv2d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        k, v = self.to_kv(x).chunk(2, dim=1)
        return self.to_out(F.gelu(linear_attention(self.to_q(x), k, v)))


class ChannelNorm(nn.Module):
    """Each pixel's channels to zero mean and unit variance, then gain `g` and bias `b` [1, C, 1, 1]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.g, self.b = nn.Parameter(torch.ones(1, channels, 1, 1)), nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(x, dim=1, correction=0, keepdim=True)
        return (x - mean) / (variance + 1e-5).sqrt() * self.g + self.b


class Normed(nn.Module):
    """A normalisation and a layer behind it."""

    def __init__(self, channels: int, layer: nn.Module) -> None:
        super().__init__()
        self.fn, self.norm = layer, ChannelNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.fn(self.norm(x))


class Residual(nn.Module):
    """A layer added to its input."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.fn = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.fn(x) + x


class Drawing(nn.Module):
    """w and noise -> image: the tensors of `state` under `name`."""

    def __init__(self, state: State, name: str) -> None:
        super().__init__()
        if f"{name}.initial_block" in state:
            self.initial_block = nn.Parameter(torch.randn(state[f"{name}.initial_block"].shape))
        else:
            shape = state[f"{name}.to_initial_block.weight"].shape
            self.to_initial_block = nn.ConvTranspose2d(shape[0], shape[1], 4, bias=False)
        channels = state[f"{name}.initial_conv.weight"].shape[0]
        self.initial_conv = nn.Conv2d(channels, channels, 3, padding=1)
        numbers = numbered(state, rf"{name}\.blocks\.(\d+)\.")
        self.blocks = nn.ModuleList(Block(state, f"{name}.blocks.{n}", first=n == 0) for n in numbers)
        self.attns = nn.ModuleList(_attention(state, f"{name}.attns.{n}") for n in numbers)

    def forward(self, w: Tensor, noise: Tensor) -> Tensor:
        learned = hasattr(self, "initial_block")
        x = self.initial_block.expand(w.shape[0], -1, -1, -1) if learned else self.to_initial_block(w[:, :, None, None])
        x, image = self.initial_conv(x), None
        for attention, block in zip(self.attns, self.blocks, strict=True):
            x, image = block(attention(x), image, w, noise)
        assert image is not None
        return image


class LucidGenerator(nn.Module):
    """SE and GE of a checkpoint, with one noise image."""

    noise: Tensor

    def __init__(self, state: State, psi: float | None) -> None:
        super().__init__()
        self.latent = state["SE.net.0.weight"].shape[1]
        self.SE = Mapping(self.latent, len(numbered(state, r"SE\.net\.(\d+)\.weight")))
        self.GE = Drawing(state, "GE")
        size = 4 * 2 ** (len(self.GE.blocks) - 1)
        noise = torch.rand(1, size, size, 1, generator=torch.Generator().manual_seed(size))
        self.register_buffer("noise", noise, persistent=False)
        self.truncation = None if psi is None else Truncation(self.latent, psi)

    def settle(self) -> None:
        """Compute the mean latent for truncation, once the weights are loaded."""
        if self.truncation is not None:
            self.truncation.settle(self.SE, self.latent)

    def forward(self, z: Tensor) -> Tensor:
        w = self.SE(z)
        return self.GE(w if self.truncation is None else self.truncation(w), self.noise)


def linear_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Mix v by softmax(q) softmax(k)ᵀ with eight heads: [N, inner, H, W] each (Shen et al. 2021)."""
    size = q.shape[2:]
    q, k, v = (part.unflatten(1, (_HEADS, -1)).flatten(3) for part in (q, k, v))
    q, k = q.softmax(2) * q.shape[2] ** -0.5, k.softmax(3)
    context = torch.matmul(v, k.transpose(2, 3))
    return torch.matmul(context, q).flatten(1, 2).unflatten(2, size)


def detect(state: State) -> bool:
    """Return whether `state` has the averaged mapping SE and the averaged generator GE."""
    return {"SE.net.0.weight", "GE.initial_conv.weight", "GE.blocks.0.to_style1.weight"} <= set(state)


def build(state: State, wish: Wish) -> Built:
    """Build the averaged generator of `state`."""
    wish.without(NAME, "labels", "repo")
    if state["GE.blocks.0.to_rgb.conv.weight"].shape[0] != 3:
        raise GanpatchError(f"{NAME}: it draws transparent images, with 4 channels; only 3 are read")
    module = LucidGenerator(state, wish.truncation)
    unused = (r"S\.", r"G\.", r"D\.", r"D_aug\.", r"D_cl\.")
    latent = Latent(kind="normal", shape=(module.latent,))
    return Built(module=module, latent=latent, range=(0.0, 1.0), unused=unused, finish=module.settle)


def _attention(state: State, name: str) -> nn.Module:
    """Attention and a small network, each with its normalisation, or nothing."""
    inner = state.get(f"{name}.0.fn.fn.to_q.weight")
    if inner is None:
        return nn.Identity()
    channels = inner.shape[1]
    grown = nn.Sequential(nn.Conv2d(channels, 2 * channels, 1), nn.LeakyReLU(0.2), nn.Conv2d(2 * channels, channels, 1))
    attention = LinearAttention(channels, inner.shape[0])
    return nn.Sequential(Residual(Normed(channels, attention)), Residual(Normed(channels, grown)))
