"""The bundled segmenter: a small U-Net trained on the project's scenes. Its card is churches/CARD.md."""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from ganpatch.families.churches.scenes import CONCEPTS
from ganpatch.segmenters.segmenter import Segmenter
from ganpatch.segmenters.unet import UNet

NAME = "churches"
WEIGHTS = Path(__file__).parent / "churches" / "churches.safetensors"


def load_net() -> UNet:
    """Load the U-Net, in eval mode and float32."""
    net = UNet(len(CONCEPTS))
    net.load_state_dict(
        {name: value.float() if value.is_floating_point() else value for name, value in load_file(WEIGHTS).items()}
    )
    return net.eval().requires_grad_(False)


def load() -> Segmenter:
    """Return the segmenter."""
    net = load_net()

    def run(images: Tensor, _features: Sequence[Tensor]) -> Tensor:
        if not images.requires_grad:  # inference is faster in this layout, the backward pass far slower
            images = images.contiguous(memory_format=torch.channels_last)
        logits: Tensor = net.to(images.device)(images)
        return logits

    return Segmenter(name=NAME, concepts=CONCEPTS, run=run)
