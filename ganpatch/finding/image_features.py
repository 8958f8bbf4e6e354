"""What an image looks like, as numbers: for distances between sets of images, and for what is typical at each place.

    features = load_features("plain")
    features.maps(images)                   # [N, D, h, w] of images [N, 3, H, W] in [0, 1]
    features.vectors(images)                # [N, D]

| name | features | weights |
|---|---|---|
| `plain` | colours and edge energies at three scales | none |
| `inception` | Inception-v3 pool3; only here a Fréchet distance is called FID | torchmetrics, torch-fidelity |
| `churches` | maps of the bundled segmenter at a quarter and an eighth of the size | in the package |
| `efficientnet-lite0` | a small ImageNet classifier, at 1/8 and 1/16 of its input | the extra `ganpatch[features]` |
| `dinov2:NAME` | a self-supervised transformer, as `dinov2:small` | transformers, its hub |
| `torchvision:NAME` | the last maps of a classifier, for example `torchvision:resnet18` | torchvision, its hub |
| `file.py:factory` | the user's module: images -> [N, D] or [N, D, h, w]; of a discriminator, its last maps | own |
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ganpatch.errors import GanpatchError, near_miss
from ganpatch.families.user_code import is_factory, make_module
from ganpatch.finding.feature_networks import (
    Maps,
    bundled_maps,
    dino_maps,
    inception_maps,
    lite_maps,
    of_module,
    torchvision_maps,
)
from ganpatch.forward.activations import batched
from ganpatch.forward.processes import ALONE, Group
from ganpatch.generator.generator import Generator
from ganpatch.generator.random_state import random_state_kept
from ganpatch.option_values import CHURCHES, DINO, FEATURE_SPECS, FEATURES, INCEPTION, LITE, PLAIN, TORCHVISION

GRID = 16  # positions along each edge of the maps of `plain`
_FLOOR = 1e-6  # energy below which there is no edge: a tenth of a grey level


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """Features of images: `maps` of images [N, 3, H, W] in [0, 1] are [N, D, h, w]; those of a vector are 1x1."""

    name: str
    maps: Maps
    with_spread: bool = False

    def vectors(self, images: Tensor) -> Tensor:
        """Return one vector per image, on the CPU: the mean of its maps and, if `with_spread`, their deviation."""
        return self.pooled(self.maps(images))

    def pooled(self, maps: Tensor) -> Tensor:
        """Return the vectors of images that have these maps."""
        mean = maps.mean((2, 3))
        return (torch.cat([mean, maps.std((2, 3))], 1) if self.with_spread else mean).cpu()

    @property
    def distance_name(self) -> str:
        """Return the name of a Fréchet distance in these features: FID only for Inception."""
        return "FID" if self.name == INCEPTION else f"Fréchet distance ({self.name})"


@torch.inference_mode()
def feature_maps(
    generator: Generator,
    features: Features,
    seeds: Sequence[int],
    each: Callable[[int], None] = lambda done: None,
    group: Group = ALONE,
) -> Tensor:
    """Return the maps [N, D, h, w] of the images of `seeds`; call `each` with the number of images of every batch."""

    def maps_of(part: Sequence[int]) -> Tensor:
        maps = features.maps(generator.sample(part))
        each(len(part))
        return maps

    return group.mapped(maps_of, list(batched(seeds)))


@random_state_kept()
def load_features(name: str = PLAIN) -> Features:
    """Return the features called `name`; raise GanpatchError when there are none, or their weights cannot be loaded."""
    if name == PLAIN:
        return Features(name=name, maps=plain_maps, with_spread=True)
    kind, _, model = name.partition(":")
    loader = _LOADERS.get(f"{kind}:" if model else name)
    if loader is not None:
        return Features(name=name, maps=loader(model), with_spread=name == LITE)
    if is_factory(name):
        return Features(name=name, maps=of_module(make_module(name, {}).eval(), name))
    raise GanpatchError(f"features '{name}' are not one of {FEATURE_SPECS}{near_miss(name, FEATURES)}")


_LOADERS: Mapping[str, Callable[[str], Maps]] = {
    CHURCHES: lambda _: bundled_maps(),
    INCEPTION: lambda _: inception_maps(),
    LITE: lambda _: lite_maps(),
    TORCHVISION: torchvision_maps,
    DINO: dino_maps,
}


def plain_maps(images: Tensor) -> Tensor:
    """Return colours and edge energies [N, 27, 16, 16] of images [N, 3, H, W] in [0, 1]; nothing is learned.

    Per position: lightness and two colour differences at three widths (9), and the logarithm of the energy of
    horizontal, vertical and checkered differences of neighbours, in lightness and in colour, at full, half and quarter
    size (18).
    """
    red, green, blue = images.unbind(1)
    colours = torch.stack([(red + green + blue) / 3, red - blue, green - (red + blue) / 2], 1)
    here = _pooled(colours)
    parts = [here, _blurred(here, 3), _blurred(here, 7)]
    scaled = colours
    for _ in range(3):
        padded = F.pad(scaled, (0, 1, 0, 1), mode="replicate")
        a, b = padded[..., :-1, :-1], padded[..., :-1, 1:]
        c, d = padded[..., 1:, :-1], padded[..., 1:, 1:]
        for difference in ((a + c - b - d) / 2, (a + b - c - d) / 2, (a + d - b - c) / 2):
            energy = difference.square()
            both = torch.cat([energy[:, :1], energy[:, 1:].sum(1, keepdim=True)], 1)
            parts.append((_pooled(both) + _FLOOR).log())
        scaled = F.avg_pool2d(scaled, 2) if min(scaled.shape[-2:]) > 2 else scaled
    return torch.cat(parts, 1)


def _pooled(x: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(x, (GRID, GRID))


def _blurred(x: Tensor, width: int) -> Tensor:
    return F.avg_pool2d(F.pad(x, (width // 2,) * 4, mode="replicate"), width, 1)
