"""A generator of which it is known what each unit draws, and a segmenter that sees exactly that.

Unit 0 of `maps` draws a red disc, which shows on the ground only; unit 1 a green one; unit 2 the sky, the upper half;
units 3 to 5 draw nothing, however active they are.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ganpatch
from ganpatch import Generator
from ganpatch.segmenters.loading import Segmenter

CONCEPTS = ("ground", "red", "green", "sky")


class Maps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        line = torch.linspace(-1, 1, 8)
        self.register_buffer("y", line.view(1, 1, 8, 1))
        self.register_buffer("x", line.view(1, 1, 1, 8))

    def forward(self, z: Tensor) -> Tensor:
        z = z[..., None, None]
        across, down, shown = torch.tanh(z[:, 0:2]), torch.tanh(z[:, 2:4]) * 0.4 + 0.4, torch.sigmoid(8 * z[:, 4:6] + 4)
        discs = 2 * shown * torch.exp(-8 * ((self.x - across) ** 2 + (self.y - down) ** 2))
        sky = 1.5 * torch.sigmoid(20 * (-0.05 - self.y)) * torch.ones_like(self.x) + 0 * z[:, 0:1]
        idle = torch.sin(3 * z[:, 5:8] + 2 * self.x + self.y)
        return torch.cat([discs, sky, idle], 1)


class Painter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.maps = Maps()
        self.scale = nn.Parameter(torch.ones(1, 6, 1, 1))

    def forward(self, z: Tensor) -> Tensor:
        y = self.maps(z) * self.scale
        red, green, sky = y[:, 0:1], y[:, 1:2], y[:, 2:3].clamp(0, 1)
        picture = torch.cat([red * (1 - sky), green * (1 - 0.5 * sky), sky], 1).clamp(0, 1)
        return F.interpolate(picture, scale_factor=4, mode="bilinear") + 0.01 * z.mean() * 0


class Eye(nn.Module):
    """Logits by colour: ground where there is none."""

    concepts = CONCEPTS

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(images[:, :1]), 20 * (images - 0.4)], 1)


def make_eye() -> nn.Module:
    return Eye()


def painter() -> Generator:
    return ganpatch.load(Painter(), latent="normal:8", range=(0, 1))


def eye() -> Segmenter:
    module = Eye()
    return Segmenter(name="eye", concepts=CONCEPTS, run=lambda images, _features: module(images))
