"""How far one set of images lies from another, and how much an image has changed.

    distances(vectors, reference)           # Fréchet and kernel distance, precision, recall
    damage(before, after)                   # per image: changed or not, SSIM, PSNR

Fréchet and kernel distances are torchmetrics'. Vectors are [N, D], images [N, 3, H, W] in [0, 1].
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganpatch.errors import GanpatchError
from ganpatch.generator.random_state import random_state_kept
from ganpatch.torchvision_import import made_importable, torchvision_models

NEIGHBOURS = 3  # of precision and recall, as their authors use (Kynkäänniemi et al. 2019)
DENSE = 5  # neighbours of density and coverage, as their authors use (Naeem et al. 2020)
SUBSET, SUBSETS = 100, 20  # of the kernel distance
WINDOW = 11  # pixels of SSIM's window
UNCHANGED = 0.5 / 255  # no pixel of an 8-bit picture changes


@dataclass(frozen=True, slots=True, kw_only=True)
class Distances:
    """The distance of a set of images from a reference.

    `precision` is the share of images that are within the reference, `recall` the share of the reference that is within
    the images (Kynkäänniemi et al. 2019); `density` and `coverage` are their robust forms (Naeem et al. 2020).
    """

    frechet: float
    kernel: float
    precision: float
    recall: float
    density: float
    coverage: float

    def rounded(self) -> dict[str, float]:
        """Return the numbers, as they are written down."""
        return {name: float(f"{value:.4g}") for name, value in asdict(self).items()}


class _Given(nn.Module):
    """Features that were computed before: torchmetrics passes them through."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.num_features = size

    def forward(self, vectors: Tensor) -> Tensor:
        return vectors


def distances(vectors: Tensor, reference: Tensor) -> Distances:
    """Compare two sets of vectors [N, D] and [M, D], both of at least ten."""
    if min(len(vectors), len(reference)) < 10:
        raise GanpatchError(f"{len(vectors)} images and {len(reference)} of reference are too few; give 10 of each")
    size = vectors.shape[1]
    vectors, reference = vectors.double(), reference.double()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchmetrics': of memory
        made_importable()
        from torchmetrics.image.fid import FrechetInceptionDistance
        from torchmetrics.image.kid import KernelInceptionDistance

        frechet = FrechetInceptionDistance(feature=_Given(size)).set_dtype(torch.float64)
        subset = min(SUBSET, len(vectors), len(reference))
        kernel = KernelInceptionDistance(feature=_Given(size), subsets=SUBSETS, subset_size=subset)
        middle, scale = reference.mean(0), reference.std(0).clamp(min=1e-9)  # the kernel is a polynomial: scale matters
        frechet.update(reference, real=True)
        frechet.update(vectors, real=False)
        kernel.update((reference - middle) / scale, real=True)
        kernel.update((vectors - middle) / scale, real=False)
        with random_state_kept(seed=0):  # the kernel distance draws subsets
            return Distances(
                frechet=float(frechet.compute()),
                kernel=float(kernel.compute()[0]),
                **_neighbourhoods(vectors, reference),
            )


def _neighbourhoods(vectors: Tensor, reference: Tensor) -> dict[str, float]:
    """Return precision, recall, density and coverage, in features scaled to the reference's deviations."""
    scale = reference.std(0).clamp(min=1e-9)
    vectors, reference = vectors / scale, reference / scale
    between, among = torch.cdist(reference, vectors), torch.cdist(reference, reference)
    dense = min(DENSE, len(reference) - 1)
    is_near = between <= _reach(among, dense)[:, None]
    return {
        "precision": _share(between <= _reach(among, NEIGHBOURS)[:, None], 0),
        "recall": _share(between <= _reach(torch.cdist(vectors, vectors), NEIGHBOURS), 1),
        "density": float(is_near.double().sum(0).mean() / dense),
        "coverage": _share(is_near, 1),
    }


def _reach(distances: Tensor, neighbours: int) -> Tensor:
    """Return how far each point's nearest `neighbours` reach; the point itself is the first."""
    return distances.kthvalue(neighbours + 1, 1).values


def _share(near: Tensor, dim: int) -> float:
    return float(near.any(dim).double().mean())


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """What happened to each of N images: `changed` [N] in mean absolute value, `largest` [N], `ssim`, `psnr`, `lpips`.

    `lpips` is None where its weights cannot be had.
    """

    changed: Tensor
    largest: Tensor
    ssim: Tensor
    psnr: Tensor
    lpips: Tensor | None = None

    @staticmethod
    def joined(parts: "list[Damage]") -> "Damage":
        """Put the damage of batches behind each other."""

        def column(name: str) -> Any:
            found = [getattr(part, name) for part in parts]
            return None if any(values is None for values in found) else torch.cat(found)

        return Damage(**{name: column(name) for name in ("changed", "largest", "ssim", "psnr", "lpips")})

    def of(self, rows: Tensor) -> Mapping[str, float]:
        """Summarise the images in `rows`."""
        if not len(rows):
            return {}
        found = {
            "unchanged": float((self.largest[rows] < UNCHANGED).double().mean()),
            "ssim": float(self.ssim[rows].mean()),
            "psnr": float(self.psnr[rows].clamp(max=100).mean()),
        }
        if self.lpips is not None:
            found["lpips"] = float(self.lpips[rows].mean())
        return {name: float(f"{value:.4g}") for name, value in found.items()}


Perceptual = Callable[[Tensor, Tensor], Tensor]


def damage(before: Tensor, after: Tensor, perceptual: Perceptual | None = None) -> Damage:
    """Measure what changed between images [N, 3, H, W] in [0, 1]."""
    gap = (before - after).abs().flatten(1)
    error = gap.square().mean(1).clamp(min=1e-10)
    return Damage(
        changed=gap.mean(1),
        largest=gap.amax(1),
        ssim=structural_similarity(before, after),
        psnr=-10 * error.log10(),
        lpips=None if perceptual is None else perceptual(before, after),
    )


def structural_similarity(some: Tensor, others: Tensor) -> Tensor:
    """Return the SSIM [N] of images [N, 3, H, W] in [0, 1] (Wang et al. 2004), with a Gaussian window of 11 pixels.

    The window is applied to columns and rows as two matrices, far quicker than as a convolution. Smaller images have a
    smaller window.
    """
    width = min(WINDOW, *(size - 1 + size % 2 for size in some.shape[-2:]))
    down, across = (_windows(size, width).to(some) for size in some.shape[-2:])
    a, b, squares, others_squares, products = (
        down @ images @ across.T for images in (some, others, some * some, others * others, some * others)
    )
    aa, bb, ab = squares - a * a, others_squares - b * b, products - a * b
    low, high = 0.01**2, 0.03**2  # of its authors, for a range of 1
    similar = (2 * a * b + low) * (2 * ab + high) / ((a * a + b * b + low) * (aa + bb + high))
    return similar.flatten(1).mean(1)


def _windows(size: int, width: int) -> Tensor:
    """Return the Gaussian window at each of its places along an edge, [size - width + 1, size]."""
    steps = torch.arange(size) - torch.arange(size - width + 1)[:, None] - width // 2
    windows = (-steps.square() / (2 * 1.5**2)).exp() * (steps.abs() <= width // 2)
    return windows / windows.sum(1, keepdim=True)


def perceptual_distance(*, fetch: bool = False) -> Perceptual | None:
    """Return LPIPS (Zhang et al. 2018), or None if the weights of its AlexNet are not in the cache.

    With `fetch` they are downloaded, and GanpatchError is raised when that fails.
    """
    cached = list((Path(torch.hub.get_dir()) / "checkpoints").glob("alexnet-*.pth"))
    if not cached and not fetch:
        return None
    try:
        torchvision_models()
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

        metric = LearnedPerceptualImagePatchSimilarity(net_type="alex", normalize=True)
    except Exception as fault:  # whatever a library says when it cannot download
        raise GanpatchError(f"the weights of LPIPS cannot be had: {fault}; leave --lpips out") from fault

    def perceptual(before: Tensor, after: Tensor) -> Tensor:
        with torch.inference_mode():
            return torch.stack([metric(a[None], b[None]) for a, b in zip(before, after, strict=True)])

    return perceptual
