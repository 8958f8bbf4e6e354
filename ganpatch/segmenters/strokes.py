"""Concepts from a few strokes: a linear probe on the generator's own features (LinearGAN, Xu & Zheng 2021, 2104.00487).

    segmenter = load(Path("strokes.json"), generator)

The features are the activations of the last layer at each map size, upsampled. A softmax regression on them is fitted
to the painted pixels. It needs no segmentation network, works on the generator's own images, and has gradients.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ganpatch.errors import GanpatchError
from ganpatch.forward.activations import batched, stream
from ganpatch.forward.layer_facts import list_layers
from ganpatch.generator.generator import Generator
from ganpatch.patch.patch_file import Model
from ganpatch.segmenters.kept_activations import KeptActivations
from ganpatch.segmenters.segmenter import Segmenter
from ganpatch.segmenters.strokes_file import UNLABELLED, Strokes

PENALTY = 3e-2  # of the squared weights of standardised features, against the mean cross-entropy
_MOST_PIXELS = 40_000
_LEAST_UNITS = 8
_STEPS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Painted:
    """A labelled image: the seed, and labels [H, W] int64 with UNLABELLED where there is no label."""

    seed: int
    labels: Tensor


def load(path: Path, generator: Generator, *, after: str | None = None) -> Segmenter:
    """Fit a probe to the strokes in a file; raise GanpatchError if they belong to another model."""
    strokes = Strokes.load(path)
    own = Model.of(generator.name, generator.fingerprint)
    if strokes.model.fingerprint != own.fingerprint:
        raise GanpatchError(
            f"'{path}' was painted on images of {strokes.model.name} with other weights than {own.name}: "
            "the same seeds draw other images"
        )
    _, _, height, width = generator.sample([0]).shape
    painted = [Painted(seed=image.seed, labels=strokes.labels(image, (height, width))) for image in strokes.images]
    return fit(f"strokes:{path}", strokes.concepts, painted, generator, after=after)


def fit(
    name: str, concepts: Sequence[str], painted: Sequence[Painted], generator: Generator, *, after: str | None = None
) -> Segmenter:
    """Fit a probe to `painted` images; with `after`, to the features after that layer only."""
    layers = feature_layers(generator, after)
    features, labels = _painted_pixels(generator, layers, painted)
    present = set(labels.unique().tolist())
    missing = [concept for index, concept in enumerate(concepts) if index not in present]
    if missing:
        raise GanpatchError(f"{name}: nothing is painted as {', '.join(missing)}")
    weights, bias = _regression(features, labels, len(concepts))
    sizes = [fact.units for fact in list_layers(generator) if fact.name in layers]
    parts = [part.T[..., None, None].contiguous() for part in weights.split(sizes)]

    def run(images: Tensor, activations: Sequence[Tensor]) -> Tensor:
        logits = bias.to(images.device).view(1, -1, 1, 1)
        for activation, part in zip(activations, parts, strict=True):  # the linear map and upsampling commute
            weighed = F.conv2d(activation.float(), part.to(images.device))
            logits = logits + F.interpolate(weighed, images.shape[-2:], mode="bilinear", align_corners=False)
        return logits

    return Segmenter(name=name, concepts=tuple(concepts), run=run, layers=layers)


def feature_layers(generator: Generator, after: str | None = None) -> tuple[str, ...]:
    """Return one layer for each map size, in order: the least nested, of these the last; after layer `after` only."""
    facts = list_layers(generator)
    names = [fact.name for fact in facts]
    start = names.index(after) + 1 if after in names else 0
    chosen: dict[tuple[int, ...], str] = {}
    for fact in facts[start:]:
        if len(fact.size) == 2 and min(fact.size) > 1 and fact.units >= _LEAST_UNITS and fact.calls == 1:
            before = chosen.get(fact.size)
            if before is None or fact.name.count(".") <= before.count("."):
                chosen[fact.size] = fact.name
    if not chosen:
        raise GanpatchError(
            f"no layer after '{after}' has maps with at least {_LEAST_UNITS} units to read concepts from"
        )
    return tuple(name for name in names if name in chosen.values())


def _painted_pixels(generator: Generator, layers: Sequence[str], painted: Sequence[Painted]) -> tuple[Tensor, Tensor]:
    """Return the features [M, F] and labels [M] of the painted pixels, or of a sample of them."""
    each = max(64, _MOST_PIXELS // len(painted))
    kept = KeptActivations(layers)
    features, labels = [], []
    for part in batched(painted, 8):
        for _ in stream(generator, kept.watch(), [image.seed for image in part], batch_size=8, with_images=False):
            for row, image in enumerate(part):
                places = (image.labels.flatten() != UNLABELLED).nonzero().flatten()
                source = torch.Generator().manual_seed(image.seed)
                places = places[torch.randperm(len(places), generator=source)[:each]]
                maps = [
                    F.interpolate(kept[layer][row : row + 1].float(), image.labels.shape, mode="bilinear")[0].flatten(1)
                    for layer in layers
                ]
                features.append(torch.cat([m[:, places.to(m.device)] for m in maps]).T.cpu())
                labels.append(image.labels.flatten()[places])
    return torch.cat(features).clone(), torch.cat(labels)


def _regression(features: Tensor, labels: Tensor, concepts: int) -> tuple[Tensor, Tensor]:
    """Fit softmax regression with an L2 penalty by L-BFGS; return weights [F, K] and bias [K] for plain features."""
    mean, deviation = features.mean(0), features.std(0) + 1e-6
    x = (features - mean) / deviation
    weights = torch.zeros(x.shape[1], concepts, requires_grad=True)
    bias = torch.zeros(concepts, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, bias], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(x @ weights + bias, labels) + PENALTY * weights.square().sum() / concepts
        value.backward()
        return value

    optimizer.step(loss)
    plain = weights.detach() / deviation.unsqueeze(1)
    return plain, (bias.detach() - mean @ plain)
