"""The activations of one batch, kept until its images are there to be segmented.

Example:

    kept = KeptActivations(["layer4", *segmenter.layers])
    for seeds, images in stream(generator, kept.watch(), seeds):
        labels = kept.labels(segmenter, images)         # beside kept["layer4"], [N, C, h, w]
"""

from collections.abc import Iterable, Sequence

from torch import Tensor

from ganpatch.errors import GanpatchError
from ganpatch.forward.activations import OnActivation
from ganpatch.segmenters.segmenter import Segmenter


class KeptActivations:
    """The maps of `layers` in the batch that ran last."""

    def __init__(self, layers: Iterable[str]) -> None:
        self._layers = tuple(dict.fromkeys(layers))
        self._activations: dict[str, Tensor] = {}

    def __getitem__(self, layer: str) -> Tensor:
        return self._activations[layer]

    def watch(self) -> dict[str, OnActivation]:
        """Return what takes the activations of each layer."""
        return {layer: self._keeper(layer) for layer in self._layers}

    def labels(self, segmenter: Segmenter, images: Tensor) -> Tensor:
        """Segment the images [N, 3, H, W] into [N, H, W], with what the segmenter reads of the generator."""
        return segmenter.labels(images, [self._activations[layer] for layer in segmenter.layers])

    def clear(self) -> None:
        """Let go of them."""
        self._activations.clear()

    def _keeper(self, layer: str) -> OnActivation:
        def keep(activation: Tensor, _seeds: Sequence[int]) -> None:
            if activation.ndim != 4:
                raise GanpatchError(f"layer '{layer}' gives {list(activation.shape)}, no maps [N, C, h, w] to compare")
            self._activations[layer] = activation.clone()  # an in-place ReLU behind it would overwrite it

        return keep
