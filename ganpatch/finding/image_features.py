"""What an image looks like, as numbers: for distances between sets of images, and for what is usual at each place.

    features = load_features("plain")
    features.maps(images)                   # [N, D, h, w] of images [N, 3, H, W] in [0, 1]
    features.vectors(images)                # [N, D]

| name | what | weights |
|---|---|---|
| `plain` | colours and edge energies at three scales | none |
| `inception` | Inception-v3 pool3, of which alone a Fréchet distance is called FID | torchmetrics, torch-fidelity |
| `churches` | what the bundled segmenter sees at a quarter and an eighth of the size | in the package |
| `torchvision:NAME` | the last maps of a classifier, as `torchvision:resnet18` | torchvision |
| `file.py:factory` | the user's module: images -> [N, D] or [N, D, h, w] | the user's |
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganpatch.errors import GanpatchError, first_line, near_miss
from ganpatch.families.user_code import is_factory, make_module
from ganpatch.forward.activations import batched
from ganpatch.forward.processes import ALONE, Group
from ganpatch.generator.generator import Generator
from ganpatch.generator.layers import hooked, layer_names, tensor_of
from ganpatch.generator.random_state import random_state_kept
from ganpatch.option_values import CHURCHES, FEATURES, INCEPTION, PLAIN, TORCHVISION
from ganpatch.segmenters import bundled
from ganpatch.torchvision_import import made_importable, torchvision_models

GRID = 16  # places along each edge at which `plain` looks
_FLOOR = 1e-6  # energy below which an edge is none: a tenth of a grey level
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # what torchvision's classifiers expect

Maps = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """A way to look at images: `maps` of images [N, 3, H, W] in [0, 1] are [N, D, h, w], a vector is [1, 1] large."""

    name: str
    maps: Maps
    with_spread: bool = False

    def vectors(self, images: Tensor) -> Tensor:
        """Return one vector per image, on the CPU: the mean of its maps, with `with_spread` also their deviation."""
        maps = self.maps(images)
        mean = maps.mean((2, 3))
        return (torch.cat([mean, maps.std((2, 3))], 1) if self.with_spread else mean).cpu()

    @property
    def distance_name(self) -> str:
        """Name a Fréchet distance in these features: FID only where it is."""
        return "FID" if self.name == INCEPTION else f"Fréchet distance ({self.name})"


@torch.inference_mode()
def feature_maps(
    generator: Generator,
    features: Features,
    seeds: Sequence[int],
    each: Callable[[int], None] = lambda done: None,
    group: Group = ALONE,
) -> Tensor:
    """Return the maps [N, D, h, w] of the images of `seeds`; `each` is told how many images every batch had."""

    def maps_of(part: Sequence[int]) -> Tensor:
        maps = features.maps(generator.sample(part))
        each(len(part))
        return maps

    return group.mapped(maps_of, list(batched(seeds)))


@random_state_kept()
def load_features(name: str = PLAIN) -> Features:
    """Return the features called `name`; raise GanpatchError when there are none, or their weights cannot be had."""
    if name == PLAIN:
        return Features(name=name, maps=plain_maps, with_spread=True)
    if name == CHURCHES:
        return Features(name=name, maps=_churches())
    if name == INCEPTION:
        return Features(name=name, maps=_inception())
    if name.startswith(TORCHVISION):
        return Features(name=name, maps=_torchvision(name.removeprefix(TORCHVISION)))
    if is_factory(name):
        return Features(name=name, maps=_of_module(make_module(name, {}).eval(), name))
    raise GanpatchError(
        f"features '{name}' are not one of {PLAIN}, {CHURCHES}, {INCEPTION}, torchvision:NAME, file.py:factory"
        f"{near_miss(name, FEATURES)}"
    )


def plain_maps(images: Tensor) -> Tensor:
    """Return colours and edge energies [N, 27, 16, 16] of images [N, 3, H, W] in [0, 1]; nothing in them is learned.

    Per place: lightness and two colour differences there, around it and wide around it (9); and the logarithm of the
    energy of horizontal, vertical and checkered differences of neighbours, in lightness and in colour, at full size,
    at half and at a quarter (18).
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


def _of_module(module: nn.Module, name: str) -> Maps:
    def maps(images: Tensor) -> Tensor:
        with torch.inference_mode():
            found = tensor_of(module.to(images.device)(images))
        if found is None or found.ndim not in (2, 4) or len(found) != len(images):
            shape = "no tensor" if found is None else str(list(found.shape))
            raise GanpatchError(f"features '{name}' give {shape} for {len(images)} images, not [N, D] or [N, D, h, w]")
        return (found if found.ndim == 4 else found[:, :, None, None]).float()

    return maps


def _churches() -> Maps:
    net = bundled.load_net()

    def maps(images: Tensor) -> Tensor:
        *_, quarter, eighth = net.to(images.device).scales(images)
        return torch.cat([quarter, F.interpolate(eighth, quarter.shape[-2:], mode="bilinear")], 1)

    return maps


def _inception() -> Maps:
    made_importable()
    try:
        from torchmetrics.image.fid import NoTrainInceptionV3

        network = NoTrainInceptionV3(name="inception-v3-compat", features_list=["2048"])
    except (ImportError, ModuleNotFoundError) as fault:
        raise GanpatchError(
            f"features 'inception' need torch-fidelity: pip install torch-fidelity ({fault})"
        ) from fault
    except Exception as fault:
        raise _unreachable(INCEPTION, fault) from fault

    def maps(images: Tensor) -> Tensor:
        with torch.inference_mode():
            vectors: Tensor = network.to(images.device)(images.mul(255).round().to(torch.uint8))
        return vectors[:, :, None, None].float()

    return maps


def _torchvision(name: str) -> Maps:
    models = torchvision_models()
    known: list[str] = models.list_models(module=models)
    if name not in known:
        raise GanpatchError(f"torchvision has no model '{name}'{near_miss(name, known)}")
    try:
        network: nn.Module = models.get_model(name, weights="DEFAULT").eval()
    except Exception as fault:
        raise _unreachable(f"{TORCHVISION}{name}", fault) from fault

    def maps(images: Tensor) -> Tensor:
        mean, deviation = (torch.tensor(numbers).view(3, 1, 1).to(images) for numbers in (_MEAN, _DEVIATION))
        kept: dict[str, Tensor] = {}

        def keep(output: Any, _call: int) -> None:
            tensor = tensor_of(output)
            if tensor is not None and tensor.ndim == 4 and min(tensor.shape[2:]) > 1:
                kept["last"] = tensor

        wide = F.interpolate(images, (224, 224), mode="bilinear", antialias=True)
        with hooked(network, dict.fromkeys(layer_names(network), keep)), torch.inference_mode():
            network.to(images.device)((wide - mean) / deviation)
        return kept["last"].float()

    return maps


def _unreachable(name: str, fault: Exception) -> GanpatchError:
    return GanpatchError(
        f"the weights of features '{name}' are neither in the cache nor to be had ({first_line(fault)}); "
        "where there is no network use --features plain, or your own: --features file.py:factory"
    )
