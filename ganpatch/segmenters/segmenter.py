"""The interface of every segmenter: from images, and for some the generator's own features, to logits of each concept.

Example:

    segmenter.labels(images)                 # [N, H, W], indices into segmenter.concepts
    segmenter.probabilities(images)          # [N, K, H, W], differentiable if the segmenter is
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ganpatch.errors import GanpatchError, near_miss

Logits = Callable[[Tensor, Sequence[Tensor]], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmenter:
    """Concept masks of images [N, 3, H, W] in [0, 1].

    `run` maps images and the activations of the generator's `layers` (which most segmenters do not read) to logits
    [N, K, h, w], or to a label map [N, h, w] of integers, which has no gradient.
    """

    name: str
    concepts: tuple[str, ...]
    run: Logits
    layers: tuple[str, ...] = ()

    def logits(self, images: Tensor, features: Sequence[Tensor] = ()) -> Tensor:
        """Return logits [N, K, H, W] at the size of the images."""
        found = self.run(images, features)
        if not found.is_floating_point() and found.ndim == 3:
            found = F.one_hot(found.long().clamp(0, len(self.concepts)), len(self.concepts) + 1)[..., :-1]
            found = found.permute(0, 3, 1, 2).to(images.dtype) * 40 - 20  # logits of a certain label
        if found.ndim != 4 or found.shape[:2] != (len(images), len(self.concepts)):
            raise GanpatchError(
                f"segmenter '{self.name}' returns {list(found.shape)}, not [{len(images)}, {len(self.concepts)}, h, w] "
                f"for its {len(self.concepts)} concepts"
            )
        if found.shape[-2:] != images.shape[-2:]:
            found = F.interpolate(found.float(), images.shape[-2:], mode="bilinear", align_corners=False)
        return found

    def probabilities(self, images: Tensor, features: Sequence[Tensor] = ()) -> Tensor:
        """Return the probability of each concept [N, K, H, W]; they sum to 1."""
        return self.logits(images, features).float().softmax(1)

    @torch.no_grad()
    def labels(self, images: Tensor, features: Sequence[Tensor] = ()) -> Tensor:
        """Return the most likely concept of each pixel, [N, H, W] int64."""
        return self.logits(images, features).argmax(1)

    def index(self, concept: str) -> int:
        """Return the index of a concept; raise GanpatchError with the nearest match if there is none."""
        if concept not in self.concepts:
            raise GanpatchError(
                f"segmenter '{self.name}' has no concept '{concept}'{near_miss(concept, self.concepts)}; "
                f"it has {', '.join(self.concepts)}"
            )
        return self.concepts.index(concept)
