"""What images are compared with: the right image of each seed, a set of real images, or the typical half.

    reference = choose_reference(generator, Compared(features=load_features()))
    reference.targets                       # seeds -> [N, 3, H, W], where the right image of a seed is known
    reference.vectors                       # features [M, D] of a set of images

Only a reference that does not come from the generator itself can show that images get better. The typical half of a
generator's own images is a weak one: any averaging of images moves them towards it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ganpatch.evaluation.target_pictures import TargetPictures
from ganpatch.families.churches.targets import draws_scenes, held_out_images, targets_of
from ganpatch.finding.image_features import Features
from ganpatch.finding.typical import Typical
from ganpatch.forward.activations import BATCH, batched
from ganpatch.generator.generator import Generator
from ganpatch.pages.image_grids import read_images

OWN, SCENES = 1_100_000_000, 2_010_000  # first seeds of the reference: own images; held-out scenes

Targets = Callable[[Sequence[int]], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What to compare with: the folder `real`, or what fits the generator; `count` images, by their `features`.

    `targets` is a folder with the right output for each picture that goes in.
    """

    features: Features
    real: Path | None = None
    targets: Path | None = None
    count: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Feature vectors [M, D] of the reference images, and the `targets` of each seed where they are known.

    `is_independent` is False for images that the generator drew itself.
    """

    description: str
    vectors: Tensor
    targets: Targets | None = None
    is_independent: bool = True


@torch.inference_mode()
def choose_reference(generator: Generator, compared: Compared) -> Reference:
    """Return the best available reference: targets, `real` images, the bundled generator's scenes, its own half."""
    features, count = compared.features, compared.count
    if compared.targets is not None:
        right = TargetPictures.of(generator, compared.targets)
        return Reference(
            description=f"{right.inputs.count} target pictures of {compared.targets.name}",
            vectors=_vectors(features, (right(seeds) for seeds in batched(range(right.inputs.count), BATCH))),
            targets=right,
        )
    if compared.real is not None:
        height, width = generator.sample([0]).shape[-2:]
        vectors = _vectors(features, read_images(compared.real, (height, width), BATCH, count))
        return Reference(description=f"{len(vectors)} real images of {compared.real.name}", vectors=vectors)
    if draws_scenes(generator):
        scenes = (held_out_images(seeds) for seeds in batched(range(SCENES, SCENES + count), BATCH))
        return Reference(
            description="the clean scene that each seed describes",
            vectors=_vectors(features, scenes),
            targets=targets_of(generator),
        )
    return typical_half(generator, compared)


def _vectors(features: Features, batches: Iterable[Tensor]) -> Tensor:
    return torch.cat([features.vectors(images) for images in batches])


@torch.inference_mode()
def typical_half(generator: Generator, compared: Compared) -> Reference:
    """Draw as many images as `compared` asks for, and keep the half that is most typical of the other half."""
    features, count = compared.features, compared.count
    maps, vectors, half = [], [], count // 2
    for seeds in batched(range(OWN, OWN + count)):
        maps.append(features.maps(generator.sample(seeds)))
        vectors.append(features.pooled(maps[-1]))
    own = torch.cat(maps)
    odd = torch.cat([Typical(own[half:]).oddity(own[:half]), Typical(own[:half]).oddity(own[half:])])
    typical = odd.mean((1, 2)).argsort()[:half].cpu()
    return Reference(
        description=f"the {half} most typical of {count} generated images (no real images given)",
        vectors=torch.cat(vectors)[typical],
        is_independent=False,
    )
