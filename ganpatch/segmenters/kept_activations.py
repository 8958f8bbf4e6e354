"""The activations of one batch, kept until its images are segmented.

Example:

    kept = KeptActivations(["layer4", *segmenter.layers])
    for seeds, images in stream(generator, kept.watch(), seeds):
        labels = kept.labels(segmenter, images)         # together with kept["layer4"], [N, C, h, w]
"""

from collections.abc import Iterable, Sequence

from torch import Tensor

from ganpatch.errors import GanpatchError
from ganpatch.forward.activations import OnActivation
from ganpatch.segmenters.segmenter import Segmenter


class KeptActivations:
    """The maps of `layers` in the last batch."""

    def __init__(self, layers: Iterable[str]) -> None:
        self._layers = tuple(dict.fromkeys(layers))
        self._activations: dict[str, Tensor] = {}

    def __getitem__(self, layer: str) -> Tensor:
        return self._activations[layer]

    def watch(self) -> dict[str, OnActivation]:
        """Return the callback for each layer."""
        return {layer: self._keeper(layer) for layer in self._layers}

    def labels(self, segmenter: Segmenter, images: Tensor) -> Tensor:
        """Segment the images [N, 3, H, W] into [N, H, W], with the activations that the segmenter reads."""
        return segmenter.labels(images, [self._activations[layer] for layer in segmenter.layers])

    def clear(self) -> None:
        """Release the activations."""
        self._activations.clear()

    def _keeper(self, layer: str) -> OnActivation:
        def keep(activation: Tensor, _seeds: Sequence[int]) -> None:
            if activation.ndim != 4:
                raise GanpatchError(f"layer '{layer}' has activations {list(activation.shape)}, not maps [N, C, h, w]")
            self._activations[layer] = activation.clone()  # a later in-place ReLU would overwrite it

        return keep
