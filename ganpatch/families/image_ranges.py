"""The range of the values of pictures that a graph takes and returns, found by trying: the one that keeps them alike.

    likely_range(generator)                 # (0.0, 1.0)

A network from images to images returns much of what it was given, so in the right range its output resembles its input.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F

from ganpatch.generator.generator import Generator
from ganpatch.generator.input_files import Images

RANGES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
_SEEDS = range(2)
_UNUSED = 0.45  # share of a range that no output value uses, at its lower end or above, where it is another one


@torch.inference_mode()
def likely_range(generator: Generator) -> tuple[float, float]:
    """Return the range that output values fill, and in which images differ least from their pictures."""
    return min(RANGES, key=lambda limits: _difference(generator, limits))


def in_range(generator: Generator, limits: tuple[float, float]) -> Generator:
    """Return the generator with pictures and output values in this range."""
    assert isinstance(generator.latent, Images)
    return replace(generator, range=limits, latent=replace(generator.latent, limits=limits))


def _difference(generator: Generator, limits: tuple[float, float]) -> float:
    low, high = limits
    tried = in_range(generator, limits)
    inputs = tried.inputs_of(_SEEDS)
    output = tried.outputs(inputs)
    middle = low + _UNUSED * (high - low)
    odd = output.min() > middle if low < 0 else output.max() < middle
    made = (output.float() - low) / (high - low)  # not clamped: values far outside differ much
    given = (inputs[0] - low) / (high - low)
    made = F.interpolate(made.mean(1, keepdim=True), size=given.shape[2:], mode="area")
    return float((made - given.mean(1, keepdim=True)).abs().mean()) + float(odd)
