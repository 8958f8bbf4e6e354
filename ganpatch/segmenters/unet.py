"""A small U-Net (Ronneberger et al. 2015): images [N, 3, H, W] in [0, 1] -> logits [N, K, H, W].

Example:

    net = UNet(concepts=10)
    net(images).argmax(1)
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = (16, 32, 64, 96)


class UNet(nn.Module):
    """Four scales, two convolutions at each; H and W are multiples of 8."""

    def __init__(self, concepts: int, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.down = nn.ModuleList(_block(a, b) for a, b in pairwise((3, *widths)))
        self.up = nn.ModuleList(_block(a + b, b) for a, b in pairwise(widths[::-1]))
        self.logits = nn.Conv2d(widths[0], concepts, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits [N, K, H, W]."""
        x, *skips = self.scales(images)[::-1]
        for block, skip in zip(self.up, skips, strict=True):
            x = block(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), skip], 1))
        logits: Tensor = self.logits(x)
        return logits

    def scales(self, images: Tensor) -> list[Tensor]:
        """Return the features of the encoder at each scale, [N, width, H / 2^i, W / 2^i]."""
        x, found = images * 4 - 2, []
        for level, block in enumerate(self.down):
            x = block(F.avg_pool2d(x, 2) if level else x)
            found.append(x)
        return found


def _block(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(*_convolution(before, after), *_convolution(after, after))


def _convolution(before: int, after: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()
