"""Pretrained segmentation networks of torchvision, and of transformers (an optional extra).

Their weights come from the user's cache, or are downloaded by those libraries.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ganpatch.errors import GanpatchError, first_line, near_miss
from ganpatch.segmenters.segmenter import Segmenter
from ganpatch.torchvision_import import made_importable, torchvision_models


def from_torchvision(name: str, concepts: Sequence[str]) -> Segmenter:
    """Load a torchvision segmentation model with its default weights and their preprocessing."""
    models = torchvision_models()
    known = models.list_models(module=models.segmentation)
    if name not in known:
        raise GanpatchError(
            f"torchvision has no segmentation model '{name}'{near_miss(name, known)}; it has {', '.join(known)}"
        )
    weights = models.get_model_weights(name).DEFAULT
    net = _fetched(f"torchvision:{name}", lambda: models.get_model(name, weights=weights)).eval().requires_grad_(False)
    prepared = weights.transforms(antialias=True)

    def run(images: Tensor, _features: Sequence[Tensor]) -> Tensor:
        output: Tensor = net.to(images.device)(prepared(images))["out"]
        return output

    return Segmenter(name=f"torchvision:{name}", concepts=tuple(concepts) or tuple(weights.meta["categories"]), run=run)


def from_transformers(name: str, concepts: Sequence[str]) -> Segmenter:
    """Load a semantic segmentation model of transformers, similar to SegFormer or to Mask2Former."""
    made_importable()  # transformers imports torchvision if it is installed
    try:
        import transformers
    except ImportError:
        raise GanpatchError(
            "segmenter 'transformers:…' needs the package transformers: pip install 'ganpatch[transformers]'"
        ) from None
    loader = transformers.AutoModelForUniversalSegmentation
    config = _fetched(f"transformers:{name}", lambda: transformers.AutoConfig.from_pretrained(name))
    by_query = type(config) in loader._model_mapping
    if not by_query:
        loader = transformers.AutoModelForSemanticSegmentation
    net = _fetched(f"transformers:{name}", lambda: loader.from_pretrained(name)).eval().requires_grad_(False)
    reader = _fetched(f"transformers:{name}", lambda: transformers.AutoImageProcessor.from_pretrained(name))
    names = tuple(concepts) or tuple(str(config.id2label[index]) for index in range(len(config.id2label)))

    def run(images: Tensor, _features: Sequence[Tensor]) -> Tensor:
        output = net.to(images.device)(pixel_values=_prepared(images, reader))
        return _of_queries(output) if by_query else output.logits

    return Segmenter(name=f"transformers:{name}", concepts=names, run=run)


def _prepared(images: Tensor, reader: Any) -> Tensor:
    """Resize and normalise like the image processor, but in torch, so that gradients pass."""
    size = dict(reader.size)
    if "height" in size:
        images = F.interpolate(images, (size["height"], size["width"]), mode="bilinear", antialias=True)
    else:
        scale = size["shortest_edge"] / min(images.shape[-2:])
        height, width = (max(32, round(edge * scale)) for edge in images.shape[-2:])
        images = F.interpolate(images, (height, width), mode="bilinear", antialias=True)
    mean, deviation = (
        torch.tensor(numbers, device=images.device).view(1, 3, 1, 1)
        for numbers in (reader.image_mean, reader.image_std)
    )
    return (images - mean) / deviation


def _of_queries(output: Any) -> Tensor:
    """Combine masks and classes of queries into logits [N, K, h, w] (Cheng et al. 2021, MaskFormer, section 3.4)."""
    classes = output.class_queries_logits.softmax(-1)[..., :-1]
    masks = output.masks_queries_logits.sigmoid()
    return torch.einsum("nqk,nqhw->nkhw", classes, masks).clamp(min=1e-8).log()


def _fetched(name: str, fetch: Any) -> Any:
    """Call `fetch`; raise GanpatchError if its weights are not available."""
    try:
        return fetch()
    except (OSError, ValueError, RuntimeError, ImportError) as fault:
        reason = first_line(fault, None)
        raise GanpatchError(f"segmenter '{name}' cannot be loaded from the cache or downloaded: {reason}") from fault
