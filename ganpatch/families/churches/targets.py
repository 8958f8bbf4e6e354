"""The right image of every seed of the bundled generator: the clean scene that its latent describes.

Example:

    if is_bundled(generator):
        images = target_images(generator, [0, 1, 2])    # [3, 3, H, W] in [0, 1]
"""

import functools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ganpatch.disk.tensor_files import opened_tensors
from ganpatch.families.churches import WEIGHTS
from ganpatch.families.churches.scenes import SLOTS, draw, draw_slots
from ganpatch.generator.fingerprints import fingerprint_of
from ganpatch.generator.generator import Generator


def is_bundled(generator: Generator) -> bool:
    """Return whether `generator` has the weights of the bundled one, whatever its file is called."""
    return generator.fingerprint.weights == _weights()


def target_images(generator: Generator, seeds: Sequence[int]) -> Tensor:
    """Draw the clean scenes that the latents of `seeds` describe, images [N, 3, H, W] in [0, 1]."""
    latents, *_ = generator.inputs_of(seeds)
    drawn = np.stack([draw_slots(latent[:SLOTS], faults=False).image for latent in latents.cpu().double().numpy()])
    return torch.from_numpy(drawn).permute(0, 3, 1, 2).float() / 255


def held_out_images(seeds: Sequence[int]) -> Tensor:
    """Draw the scenes of `seeds`, which no generator has seen, images [N, 3, H, W] in [0, 1]."""
    drawn = np.stack([draw(seed, faults=False).image for seed in seeds])
    return torch.from_numpy(drawn).permute(0, 3, 1, 2).float() / 255


@functools.cache
def _weights() -> str:
    with opened_tensors(WEIGHTS) as file:
        return fingerprint_of((name, file.tensor(name).float()) for name in file.names).weights
