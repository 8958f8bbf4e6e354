"""An example of a package that adds to ganpatch: a generator, a segmenter and a scorer."""

import torch
from torch import Tensor, nn

from ganpatch import Built
from ganpatch.inputs import parse_latent


class Blobs(nn.Module):
    """z [N, 8] -> image [N, 3, 32, 32] in [0, 1]: soft blobs, one per unit of `spots`."""

    def __init__(self, spots: int) -> None:
        super().__init__()
        self.place = nn.Linear(8, spots * 16)
        self.spots = nn.Sequential(nn.Unflatten(1, (spots, 4, 4)), nn.ReLU(), nn.Upsample(scale_factor=8))
        self.colour = nn.Conv2d(spots, 3, 5, padding=2)

    def forward(self, z: Tensor) -> Tensor:
        return torch.sigmoid(self.colour(self.spots(self.place(z))))


def generator(spots: int = 16) -> Built:
    """Make the generator; `--arch-arg spots=32` reaches here. Real packages load their weights as well."""
    torch.manual_seed(0)
    return Built(module=Blobs(spots), latent=parse_latent("normal:8"), range=(0.0, 1.0))


def segment(images: Tensor) -> Tensor:
    """Tell bright (1) from dark (0) pixels: [N, 3, H, W] in [0, 1] -> [N, H, W]."""
    return (images.mean(1) > 0.5).long()


def brightness(images: Tensor) -> Tensor:
    """Score images by how bright they are: [N, 3, H, W] in [0, 1] -> [N]."""
    return images.mean((1, 2, 3))
