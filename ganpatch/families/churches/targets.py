"""The right image of each seed of the bundled generator: the clean scene that its latent describes.

Example:

    if draws_scenes(generator):
        images = targets_of(generator)([0, 1, 2])       # [3, 3, H, W] in [0, 1]

Copies of the generator with other weights, or with something added to it, still draw the scene that a latent describes.
Therefore the images decide, and not the name or the fingerprint.
"""

import functools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ganpatch.families.churches.scenes import SIZE, SLOTS, draw, draw_slots
from ganpatch.generator.generator import Generator

KEPT = 2048  # scenes of 49 kB each
CHECKED = range(700_000, 700_008)  # seeds by which a generator is recognised
ALIKE = 0.6  # largest error to the own scenes, as a share of the error to those of other seeds; measured: 0.2 and 1.0


@torch.inference_mode()
def draws_scenes(generator: Generator) -> bool:
    """Return whether the images of `generator` are the scenes that its latents describe, whatever it is called.

    Its images must be much nearer to their own scenes than to the scenes of other seeds.
    """
    latents, *others = generator.inputs_of(CHECKED)
    if others or latents.flatten(1).shape[1] != SLOTS:
        return False
    images = generator.sample(CHECKED).cpu()
    if images.shape[-2:] != (SIZE, SIZE):
        return False
    scenes = targets_of(generator)(CHECKED)
    own, other = ((images - each).abs().mean() for each in (scenes, scenes.roll(1, 0)))
    return bool(own < ALIKE * other)


def targets_of(generator: Generator) -> Callable[[Sequence[int]], Tensor]:
    """Return what draws the clean scenes that the latents of seeds describe, images [N, 3, H, W] in [0, 1].

    A scene that was drawn is kept, up to KEPT of them: baselines compare with the same ones again.
    """

    @functools.lru_cache(maxsize=KEPT)
    def clean_scene(seed: int) -> np.ndarray:
        latents, *_ = generator.inputs_of([seed])
        return draw_slots(latents[0].flatten().cpu().double().numpy(), faults=False).image

    return lambda seeds: _as_images([clean_scene(seed) for seed in seeds])


def held_out_images(seeds: Sequence[int]) -> Tensor:
    """Draw the scenes of `seeds`, which no generator has seen, images [N, 3, H, W] in [0, 1]."""
    return _as_images([draw(seed, faults=False).image for seed in seeds])


def _as_images(pixels: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255
