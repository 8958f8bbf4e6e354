"""Agreement of units above their thresholds with concepts: running counts of pixels.

    counts = ConceptCounts(thresholds, concepts=10)       # thresholds [C, K], or [C, 1] for all concepts
    counts.update(activation, labels)                     # [N, C, h, w], [N, H, W]
    iou, accuracy = counts.result()                       # [C, K]

IoU is a ratio of sums over the sample (Bau et al. 2018, section 3.1), units upsampled bilinearly to the labels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ganpatch.ranking.running_stats import Running

_CPU = torch.device("cpu")
_MOST_VALUES = {"cpu": 1 << 20}  # upsampled at once: they stay in the processor's cache
_MOST_ON_DEVICE = 1 << 26


class ConceptCounts(Running):
    """Pixels above the threshold, and of these those in the concept, per unit and concept; pixels of each concept."""

    def __init__(self, thresholds: Tensor, concepts: int) -> None:
        self.thresholds = thresholds
        self.above = torch.zeros(len(thresholds), concepts, dtype=torch.float64)
        self.both = torch.zeros(len(thresholds), concepts, dtype=torch.float64)
        self.of_concept = torch.zeros(concepts, dtype=torch.float64)
        self.pixels = torch.zeros((), dtype=torch.float64)

    def update(self, activation: Tensor, labels: Tensor) -> None:
        """Add an activation [N, C, h, w] and labels [N, H, W]; labels outside 0..K-1 belong to no concept."""
        self.move(activation.device)
        concepts, (height, width) = len(self.of_concept), labels.shape[-2:]
        among = torch.where((labels >= 0) & (labels < concepts), labels, concepts)
        masks = F.one_hot(among.flatten(1), concepts + 1)[..., :concepts].transpose(1, 2).float()
        self.of_concept += masks.sum((0, 2)).double()
        self.pixels += labels.numel()
        tile = max(1, _MOST_VALUES.get(activation.device.type, _MOST_ON_DEVICE) // (height * width))
        upsampler = Upsampler((activation.shape[-2], activation.shape[-1]), (height, width))
        for image, of_image in zip(activation, masks.contiguous(), strict=True):
            for start in range(0, len(image), tile):
                units = slice(start, min(start + tile, len(image)))
                above, both = _counted(upsampler(image[units]).flatten(1), self.thresholds[units], of_image)
                self.above[units] += above.double()
                self.both[units] += both.double()

    def merge(self, other: "ConceptCounts") -> None:
        """Add the state of another process with the same thresholds."""
        self.above += other.above
        self.both += other.both
        self.of_concept += other.of_concept
        self.pixels += other.pixels

    def result(self) -> tuple[Tensor, Tensor]:
        """Return IoU and pixel accuracy, each [C, K] float32; 0 if neither unit nor concept ever occurs."""
        self.move(_CPU)
        union = self.above + self.of_concept - self.both
        agree = self.pixels - union + self.both
        return (self.both / union.clamp(min=1)).float(), (agree / self.pixels.clamp(min=1)).float()


def _counted(maps: Tensor, thresholds: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Count per unit and concept the pixels of `maps` [C, P] above `thresholds`, and of these those in `masks`."""
    mask = torch.empty_like(maps)
    if thresholds.shape[1] == 1:
        mask.copy_(maps).gt_(thresholds)
        return mask.sum(1, keepdim=True).expand(-1, len(masks)), mask @ masks.T
    above, both = torch.empty(2, len(maps), len(masks), device=maps.device)
    for concept, of_concept in enumerate(masks):
        mask.copy_(maps).gt_(thresholds[:, concept, None])
        above[:, concept] = mask.sum(1)
        both[:, concept] = torch.mv(mask, of_concept)
    return above, both


class Upsampler:
    """Bilinear upsampling of [C, h, w] to [C, H, W], by two matrix products: ten times faster than F.interpolate."""

    def __init__(self, source: tuple[int, int], target: tuple[int, int]) -> None:
        self._rows, self._columns = _weights(source[0], target[0]), _weights(source[1], target[1])
        self._same = source == target

    def __call__(self, maps: Tensor) -> Tensor:
        """Return maps [C, H, W] float32."""
        if self._same:
            return maps.float()
        rows, columns = self._rows.to(maps.device), self._columns.to(maps.device)
        return torch.matmul(rows, torch.matmul(maps.float(), columns.T))


def _weights(source: int, target: int) -> Tensor:
    """Return the matrix [target, source] that interpolates a line, as F.interpolate with align_corners=False."""
    lines = torch.eye(source).view(source, 1, source, 1)
    return F.interpolate(lines, (target, 1), mode="bilinear", align_corners=False).view(source, target).T.contiguous()
