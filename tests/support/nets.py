"""Small random generators of every kind that people have, in eval mode, with settled BatchNorm statistics.

Each is a function of nothing that returns (module, latent); the same numbers every time.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

import ganpatch
from ganpatch import Generator
from ganpatch.families.dcgan import DCGANGenerator
from ganpatch.families.progressive_gan import ProgressiveGenerator

Net = tuple[nn.Module, str]


def settled(module: nn.Module, latent: tuple[int, ...] = (6,)) -> nn.Module:
    """Return the module in eval mode, spectral norms converged, its BatchNorms with uneven statistics, gains and biases."""
    with torch.no_grad():
        for _ in range(20):
            module.train()(torch.randn(4, *latent))
    for layer in module.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(layer.running_mean, -0.5, 0.5)
            nn.init.uniform_(layer.running_var, 0.5, 2.0)
            if layer.affine:
                nn.init.uniform_(layer.weight, 0.5, 1.5)
                nn.init.uniform_(layer.bias, -0.5, 0.5)
    return module.eval()


def dcgan() -> Net:
    torch.manual_seed(1)
    layers = nn.Sequential(
        nn.ConvTranspose2d(8, 12, 4, 1, 0, bias=False),
        nn.BatchNorm2d(12),
        nn.ReLU(True),
        nn.ConvTranspose2d(12, 8, 4, 2, 1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(True),
        nn.ConvTranspose2d(8, 3, 4, 2, 1, bias=False),
        nn.Tanh(),
    )
    return settled(DCGANGenerator(layers, "main"), (8,)), "normal:8,1,1"


def progressive() -> Net:
    torch.manual_seed(2)
    return ProgressiveGenerator([8, 12, 10, 6], "to_rgb").eval(), "normal:8"


class Conditional(nn.Module):
    """BatchNorm without own gain and bias; they come from linear layers of the latent (BigGAN)."""

    def __init__(self, channels: int, latent: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels, affine=False)
        self.gain, self.bias = nn.Linear(latent, channels), nn.Linear(latent, channels)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        return self.bn(x) * (1 + self.gain(z))[:, :, None, None] + self.bias(z)[:, :, None, None]


class BigBlock(nn.Module):
    def __init__(self, before: int, after: int, latent: int, norm: Callable[[nn.Module], nn.Module]) -> None:
        super().__init__()
        self.bn1, self.bn2 = Conditional(before, latent), Conditional(after, latent)
        self.conv1, self.conv2 = (
            norm(nn.Conv2d(before, after, 3, padding=1)),
            norm(nn.Conv2d(after, after, 3, padding=1)),
        )
        self.skip = norm(nn.Conv2d(before, after, 1))

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        h = F.interpolate(F.relu(self.bn1(x, z)), scale_factor=2)
        h = self.conv2(F.relu(self.bn2(self.conv1(h), z)))
        return h + self.skip(F.interpolate(x, scale_factor=2))


class BigGAN(nn.Module):
    """Linear input, conditional BatchNorm, residual blocks with a convolution on the skip, spectral norm."""

    def __init__(self, norm: Callable[[nn.Module], nn.Module]) -> None:
        super().__init__()
        self.linear = norm(nn.Linear(6, 10 * 16))
        self.block1, self.block2 = BigBlock(10, 8, 6, norm), BigBlock(8, 6, 6, norm)
        self.bn, self.relu, self.out = nn.BatchNorm2d(6), nn.ReLU(), norm(nn.Conv2d(6, 3, 3, padding=1))

    def forward(self, z: Tensor) -> Tensor:
        x = self.linear(z).view(-1, 10, 4, 4)
        x = self.block2(self.block1(x, z), z)
        return torch.tanh(self.out(self.relu(self.bn(x))))


def biggan() -> Net:
    torch.manual_seed(3)
    return settled(BigGAN(spectral_norm)), "normal:6"


def biggan_new_spectral_norm() -> Net:
    torch.manual_seed(4)
    return settled(BigGAN(parametrizations.spectral_norm)), "normal:6"


def weight_normed() -> Net:
    torch.manual_seed(5)
    module = nn.Sequential(
        nn.Unflatten(1, (6, 1, 1)),
        weight_norm(nn.ConvTranspose2d(6, 8, 4)),
        nn.LeakyReLU(0.2),
        parametrizations.weight_norm(nn.Conv2d(8, 8, 3, padding=1)),
        nn.LeakyReLU(0.2),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        parametrizations.weight_norm(nn.Conv2d(8, 3, 1)),
        nn.Tanh(),
    )
    return settled(module), "normal:6"


class Modulated(nn.Module):
    """StyleGAN2's modulated convolution, un-fused: styles scale the input, demodulation the output; constant noise."""

    def __init__(self, before: int, after: int, kernel: int, demodulate: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(after, before, kernel, kernel))
        self.affine = nn.Linear(8, before)
        nn.init.ones_(self.affine.bias)
        self.bias = nn.Parameter(torch.randn(after) * 0.1)
        self.demodulate, self.padding = demodulate, kernel // 2
        if demodulate:
            self.register_buffer("noise", torch.randn(8, 8))
            self.strength = nn.Parameter(torch.tensor(0.3))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style = self.affine(w)
        x = F.conv2d(x * style[:, :, None, None], self.weight * 0.2, padding=self.padding)
        if self.demodulate:
            scale = ((self.weight * 0.2)[None] * style[:, None, :, None, None]).square().sum([2, 3, 4]) + 1e-8
            x = x * scale.rsqrt()[:, :, None, None] + self.noise * self.strength
            return F.leaky_relu(x + self.bias.view(1, -1, 1, 1), 0.2)
        return x + self.bias.view(1, -1, 1, 1)


class StyleGAN2(nn.Module):
    """Mapping network, learned constant, modulated convolutions, toRGB without demodulation."""

    def __init__(self) -> None:
        super().__init__()
        self.mapping = nn.Sequential(nn.Linear(8, 8), nn.LeakyReLU(0.2), nn.Linear(8, 8), nn.LeakyReLU(0.2))
        self.const = nn.Parameter(torch.randn(1, 8, 4, 4))
        self.conv0, self.conv1 = Modulated(8, 8, 3, True), Modulated(8, 6, 3, True)
        self.up, self.torgb = nn.Upsample(scale_factor=2), Modulated(6, 3, 1, False)

    def forward(self, z: Tensor) -> Tensor:
        w = self.mapping(z)
        x = self.up(self.const.expand(z.shape[0], -1, -1, -1))
        return self.torgb(self.conv1(self.conv0(x, w), w), w)


def stylegan2() -> Net:
    torch.manual_seed(6)
    return StyleGAN2().eval(), "normal:8"


class GLU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        half = x.shape[1] // 2
        return x[:, :half] * torch.sigmoid(x[:, half:])


class FastGAN(nn.Module):
    """GLU by slices, spectral norm, and skip-layer excitation from a small map to a large one."""

    def __init__(self) -> None:
        super().__init__()
        self.init = nn.Sequential(spectral_norm(nn.ConvTranspose2d(8, 16, 4, bias=False)), nn.BatchNorm2d(16), GLU())
        self.up = nn.Sequential(
            nn.Upsample(scale_factor=2),
            spectral_norm(nn.Conv2d(8, 12, 3, padding=1, bias=False)),
            nn.BatchNorm2d(12),
            GLU(),
        )
        self.native = nn.Sequential(nn.Conv2d(6, 12, 3, padding=1), nn.GLU(dim=1))
        self.excite = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 6, 1), nn.SiLU(), nn.Conv2d(6, 6, 1), nn.Sigmoid()
        )
        self.out = nn.Conv2d(6, 3, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        small = self.init(z.view(z.shape[0], -1, 1, 1))
        large = self.native(self.up(small))
        return torch.tanh(self.out(large * self.excite(small)))


def fastgan() -> Net:
    torch.manual_seed(7)
    return settled(FastGAN(), (8,)), "normal:8"


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(2, channels), nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(2, channels), nn.Conv2d(channels, channels, 3, padding=1)
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(self.act(self.norm1(x)))
        return x + self.conv2(self.act(self.norm2(h)))


class Attention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm, self.qkv, self.proj = (
            nn.GroupNorm(2, channels),
            nn.Conv2d(channels, 3 * channels, 1),
            nn.Conv2d(channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        q, k, v = self.qkv(self.norm(x)).view(n, 3, 1, c, h * w).unbind(1)
        mixed = F.scaled_dot_product_attention(q.transpose(2, 3), k.transpose(2, 3), v.transpose(2, 3))
        return x + self.proj(mixed.transpose(2, 3).reshape(n, c, h, w))


class Decoder(nn.Module):
    """A VAE decoder: GroupNorm, SiLU, residual blocks with identity skips, attention, pixel shuffle."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_in, self.mid, self.attention = nn.Conv2d(4, 8, 3, padding=1), Residual(8), Attention(8)
        self.up, self.grow, self.shuffle = (
            nn.Upsample(scale_factor=2),
            nn.Conv2d(8, 16, 3, padding=1),
            nn.PixelShuffle(2),
        )
        self.norm_out, self.conv_out = nn.InstanceNorm2d(4, affine=True), nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        x = self.attention(self.mid(self.conv_in(z)))
        x = self.shuffle(self.grow(self.up(x)))
        return self.conv_out(F.gelu(self.norm_out(x)))


def vae_decoder() -> Net:
    torch.manual_seed(8)
    module = Decoder()
    for layer in module.modules():
        if isinstance(layer, nn.GroupNorm | nn.InstanceNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.uniform_(layer.bias, -0.5, 0.5)
    return module.eval(), "normal:4,4,4"


class UNet(nn.Module):
    """Down, up, and a concatenation of what was on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.down = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 4, 2, 1)
        self.pool, self.up = nn.MaxPool2d(2), nn.ConvTranspose2d(8, 5, 4, 4, groups=1)
        self.grouped, self.out = nn.Conv2d(11, 22, 3, padding=1, groups=11), nn.Conv2d(22, 3, 1)
        self.act = nn.PReLU(6)

    def forward(self, x: Tensor) -> Tensor:
        skip = self.act(self.first(x))
        low = self.pool(F.leaky_relu(self.down(skip), 0.2))
        joined = torch.cat([F.relu(self.up(low)), skip], 1)
        return self.out(F.elu(self.grouped(joined)))


def unet() -> Net:
    torch.manual_seed(9)
    return UNet().eval(), "normal:3,8,8"


class Repeated(nn.Module):
    """One convolution that runs twice with the same weights, and a tied one."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.twice, self.out = (
            nn.Conv2d(4, 6, 3, padding=1),
            nn.Conv2d(6, 6, 3, padding=1),
            nn.Conv2d(6, 3, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x))
        x = F.relu(self.twice(x))
        return self.out(F.relu(self.twice(x)))


def repeated() -> Net:
    torch.manual_seed(10)
    return Repeated().eval(), "normal:4,8,8"


class InPlaceTrap(nn.Module):
    """The BatchNorm's output is kept by reference and then overwritten by an in-place ReLU, which the skip sees."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn, self.relu, self.out = (
            nn.Conv2d(4, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(True),
            nn.Conv2d(6, 3, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        kept = self.bn(self.conv(x))
        y = self.relu(kept)
        return self.out(y + kept)


def in_place_trap() -> Net:
    torch.manual_seed(11)
    return settled(InPlaceTrap(), (4, 8, 8)), "normal:4,8,8"


NETS: dict[str, Callable[[], Net]] = {
    net.__name__: net
    for net in (
        dcgan,
        progressive,
        biggan,
        biggan_new_spectral_norm,
        weight_normed,
        stylegan2,
        fastgan,
        vae_decoder,
        unet,
        repeated,
        in_place_trap,
    )
}


def loaded_net(name: str, **options: Any) -> Generator:
    """Load one of NETS by its name."""
    module, latent = NETS[name]()
    return ganpatch.load(module, latent=latent, **options)
