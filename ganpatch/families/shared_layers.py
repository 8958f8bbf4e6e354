"""Layers that several families share, without names of their own in a checkpoint."""

import re
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PixelNorm(nn.Module):
    """Scale every pixel's feature vector to unit mean square: [N, C, ...] -> [N, C, ...]."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(torch.mean(x * x, dim=1, keepdim=True) + 1e-8)


class Noise(nn.Module):
    """Add noise of a learned strength; the noise is one fixed map, so that an image depends on its seed alone."""

    fixed: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.register_buffer("fixed", fixed_noise(size), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight * self.fixed


class Gate(nn.Module):
    """Half of the channels, multiplied by the sigmoid of the other half: [N, 2C, H, W] -> [N, C, H, W]."""

    def forward(self, x: Tensor) -> Tensor:
        return F.glu(x, dim=1)


class SoftAttention(nn.Module):
    """What BigGAN's two attention layers compute: every pixel looks at a pooled map (Zhang et al. 2019)."""

    def attend(self, theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
        """Return the mean of g, weighted by the similarity of theta [N, K, H, W] and phi: [N, V, H, W]."""
        height, width = theta.shape[2:]
        phi, g = F.max_pool2d(phi, 2).flatten(2), F.max_pool2d(g, 2).flatten(2)
        likeness = torch.bmm(theta.flatten(2).transpose(1, 2), phi).softmax(-1)
        return torch.bmm(g, likeness.transpose(1, 2)).unflatten(2, (height, width))


def fixed_noise(size: int) -> Tensor:
    """Return the fixed noise map [1, 1, size, size] that replaces the random ones of training."""
    return torch.randn(1, 1, size, size, generator=torch.Generator().manual_seed(size))


def map_of(x: Tensor) -> Tensor:
    """Return vectors [N, C] or [N, C, 1, 1] as maps [N, C, 1, 1]."""
    return x.view(x.shape[0], -1, 1, 1)


class Truncation(nn.Module):
    """Move latents w [N, W] towards their mean by 1 - psi: fewer odd images, and less variety."""

    mean: Tensor

    def __init__(self, width: int, psi: float) -> None:
        super().__init__()
        self.psi = psi
        self.register_buffer("mean", torch.zeros(width), persistent=False)

    def forward(self, w: Tensor) -> Tensor:
        return self.mean + self.psi * (w - self.mean)

    @torch.no_grad()
    def settle(self, mapping: nn.Module, size: int) -> None:
        """Compute the mean w of 4096 latents [size] of fixed seeds."""
        z = torch.randn(4096, size, generator=torch.Generator().manual_seed(0))
        self.mean.copy_(mapping(z).mean(0))


def numbered(state: Mapping[str, Any], pattern: str) -> list[int]:
    """Return the numbers at the (\\d+) of `pattern` among the names of `state`, in order, each once."""
    found = {int(match[1]) for name in state if (match := re.match(pattern, name))}
    return sorted(found)


def conv_like(state: Mapping[str, Tensor], name: str, *, padding: int | None = None, groups: int = 1) -> nn.Conv2d:
    """Return a convolution for the tensors `name`.weight and, where there is one, `name`.bias; it keeps the size."""
    after, before, kernel = state[f"{name}.weight"].shape[:3]
    around = kernel // 2 if padding is None else padding
    return nn.Conv2d(before * groups, after, kernel, padding=around, bias=f"{name}.bias" in state, groups=groups)
