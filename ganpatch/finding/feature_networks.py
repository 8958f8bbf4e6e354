"""Networks that turn images into feature maps: loaders that return images [N, 3, H, W] in [0, 1] -> [N, D, h, w].

Example:

    maps = lite_maps()
    maps(images)                            # [N, 152, 14, 14]
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganpatch.errors import GanpatchError, first_line, near_miss
from ganpatch.finding.efficientnet_lite import load_lite0
from ganpatch.generator.layers import hooked, layer_names, tensor_of
from ganpatch.option_values import INCEPTION, TORCHVISION
from ganpatch.segmenters import bundled
from ganpatch.torchvision_import import made_importable, torchvision_models

Maps = Callable[[Tensor], Tensor]

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # what ImageNet classifiers expect
_DINO_SIZES = ("small", "base", "large", "giant")


def bundled_maps() -> Maps:
    """Return what the bundled segmenter sees at a quarter and an eighth of the size."""
    net = bundled.load_net()

    def maps(images: Tensor) -> Tensor:
        *_, quarter, eighth = net.to(images.device).scales(images)
        return torch.cat([quarter, F.interpolate(eighth, quarter.shape[-2:], mode="bilinear")], 1)

    return maps


def inception_maps() -> Maps:
    """Return the pool3 features of Inception-v3, in the preprocessing of the standard FID."""
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


def torchvision_maps(name: str) -> Maps:
    """Return the last maps of a torchvision classifier."""
    models = torchvision_models()
    known: list[str] = models.list_models(module=models)
    if name not in known:
        raise GanpatchError(f"torchvision has no model '{name}'{near_miss(name, known)}")
    try:
        network: nn.Module = models.get_model(name, weights="DEFAULT").eval()
    except Exception as fault:
        raise _unreachable(f"{TORCHVISION}{name}", fault) from fault

    return lambda images: _last_map(network, _normalised(images, 224))


def lite_maps() -> Maps:
    """Return maps of EfficientNet-Lite0, whose weights come as a package of the registry."""
    network = load_lite0()

    def maps(images: Tensor) -> Tensor:
        with torch.inference_mode():
            eighth, sixteenth = network.to(images.device).maps(_normalised(images, 224))
        return torch.cat([F.avg_pool2d(eighth, 2), sixteenth], 1).float()

    return maps


def dino_maps(name: str) -> Maps:
    """Return the patch tokens of DINOv2 (Oquab et al. 2023) as maps [N, D, 16, 16]; `name` is small, base or large."""
    made_importable()
    try:
        import transformers
    except ImportError:
        raise GanpatchError(
            "features 'dinov2:…' need the package transformers: pip install 'ganpatch[transformers]'"
        ) from None
    if name not in _DINO_SIZES:
        raise GanpatchError(
            f"dinov2 has no size '{name}'; it has {', '.join(_DINO_SIZES)}{near_miss(name, _DINO_SIZES)}"
        )
    try:
        network = transformers.AutoModel.from_pretrained(f"facebook/dinov2-{name}").eval()
    except Exception as fault:
        raise _unreachable(f"dinov2:{name}", fault) from fault

    def maps(images: Tensor) -> Tensor:
        with torch.inference_mode():
            tokens = network.to(images.device)(pixel_values=_normalised(images, 224)).last_hidden_state[:, 1:]
        edge = round(tokens.shape[1] ** 0.5)
        found: Tensor = tokens.transpose(1, 2).reshape(len(images), -1, edge, edge).float()
        return found

    return maps


def of_module(module: nn.Module, name: str) -> Maps:
    """Return the output of the user's module, [N, D] or [N, D, h, w]; of a discriminator, [N, 1], its last maps."""

    def maps(images: Tensor) -> Tensor:
        with torch.inference_mode():
            found = tensor_of(module.to(images.device)(images))
        if found is None or found.ndim not in (1, 2, 4) or len(found) != len(images):
            shape = "no tensor" if found is None else str(list(found.shape))
            raise GanpatchError(f"features '{name}' give {shape} for {len(images)} images, not [N, D] or [N, D, h, w]")
        if found.numel() == len(images):
            return _last_map(module, images)
        return (found if found.ndim == 4 else found[:, :, None, None]).float()

    return maps


def _last_map(network: nn.Module, images: Tensor) -> Tensor:
    """Return the last map [N, D, h, w] of a pass that has more than one place."""
    kept: dict[str, Tensor] = {}

    def keep(output: Any, _call: int) -> None:
        tensor = tensor_of(output)
        if tensor is not None and tensor.ndim == 4 and min(tensor.shape[2:]) > 1:
            kept["last"] = tensor

    with hooked(network, dict.fromkeys(layer_names(network), keep)), torch.inference_mode():
        network.to(images.device)(images)
    if "last" not in kept:
        raise GanpatchError(f"{type(network).__name__} has no layer with maps [N, D, h, w] to take features from")
    return kept["last"].float()


def _normalised(images: Tensor, edge: int) -> Tensor:
    """Resize images [N, 3, H, W] in [0, 1] and normalise them as ImageNet classifiers expect."""
    mean, deviation = (torch.tensor(numbers).view(3, 1, 1).to(images) for numbers in (_MEAN, _DEVIATION))
    return (F.interpolate(images, (edge, edge), mode="bilinear", antialias=True) - mean) / deviation


def _unreachable(name: str, fault: Exception) -> GanpatchError:
    return GanpatchError(
        f"the weights of features '{name}' are not in the cache and cannot be downloaded ({first_line(fault)}); "
        "without a network use --features plain or efficientnet-lite0, or your own: --features file.py:factory"
    )
