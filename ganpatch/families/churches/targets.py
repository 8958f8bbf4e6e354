"""The right image of every seed of the bundled generator: the clean scene that its latent describes.

Example:

    if is_bundled(generator):
        images = targets_of(generator)([0, 1, 2])       # [3, 3, H, W] in [0, 1]
"""

import functools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ganpatch.disk.tensor_files import opened_tensors
from ganpatch.families.churches import WEIGHTS
from ganpatch.families.churches.scenes import SLOTS, draw, draw_slots
from ganpatch.generator.fingerprints import fingerprint_of
from ganpatch.generator.generator import Generator

KEPT = 2048  # scenes of 49 kB each


def is_bundled(generator: Generator) -> bool:
    """Return whether `generator` has the weights of the bundled one, whatever its file is called."""
    return generator.fingerprint.weights == _weights()


def targets_of(generator: Generator) -> Callable[[Sequence[int]], Tensor]:
    """Return what draws the clean scenes that the latents of seeds describe, images [N, 3, H, W] in [0, 1].

    A scene that was drawn is kept, up to KEPT of them: baselines compare with the same ones again.
    """

    @functools.lru_cache(maxsize=KEPT)
    def clean_scene(seed: int) -> np.ndarray:
        latents, *_ = generator.inputs_of([seed])
        return draw_slots(latents[0, :SLOTS].cpu().double().numpy(), faults=False).image

    return lambda seeds: _as_images([clean_scene(seed) for seed in seeds])


def held_out_images(seeds: Sequence[int]) -> Tensor:
    """Draw the scenes of `seeds`, which no generator has seen, images [N, 3, H, W] in [0, 1]."""
    return _as_images([draw(seed, faults=False).image for seed in seeds])


def _as_images(pixels: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255


@functools.cache
def _weights() -> str:
    with opened_tensors(WEIGHTS) as file:
        return fingerprint_of((name, file.tensor(name).float()) for name in file.names).weights
