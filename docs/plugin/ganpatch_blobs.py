"""An example of a package that adds to ganpatch: a generator, a segmenter and a scorer."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ganpatch import Built, Found, Segmenter, Task, parse_latent


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


def segmenter() -> Segmenter:
    """Return a segmenter of dark and bright pixels, for `ganpatch dissect --segmenter blobs`."""

    def run(images: Tensor, _features: Sequence[Tensor]) -> Tensor:
        return (images.mean(1) > 0.5).long()

    return Segmenter(name="blobs", concepts=("dark", "bright"), run=run)


class Brightness:
    """A scorer: units whose top images are bright; `ganpatch suggest --by brightness` asks it."""

    NAME = "brightness"
    EXPLAINS = "how bright its top images are"

    def find(self, task: Task, layer: str) -> Found:
        """Score the units of one ranked layer, [C], higher for worse."""
        ranking = task.ranking
        rows = ranking[layer].top_seeds.tolist()
        return Found(
            score=torch.tensor([sum(ranking.thumbnails[seed].mean() for seed in row) / len(row) for row in rows])
        )

    def settings(self, task: Task) -> dict[str, Any]:
        """Describe what of the task the scores depend on."""
        return {"images": len(task.ranking.seeds)}
