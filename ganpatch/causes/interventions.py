"""The effect of an intervention at a layer on a concept: images with units ablated or inserted, and their segmentation.

    bench = Interventions(generator, segmenter, "layer4")
    prefix = bench.prefix(seeds)
    bench.shares(prefix, ablated(units, alpha=1))          # [N, K] share of each image's pixels per concept

An insertion is at one place of the layer's map, and its effect is measured in the part of the image that it covers.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ganpatch.errors import GanpatchError
from ganpatch.forward.default_layer import default_layer
from ganpatch.forward.layer_facts import list_layers
from ganpatch.generator.generator import Generator
from ganpatch.generator.layers import find_layer, hooked, tensor_of
from ganpatch.graph.prefix import Change, Prefix
from ganpatch.graph.remainder import Remainder
from ganpatch.patch.equation import replaced
from ganpatch.segmenters.loading import Segmenter

BATCH = 16  # half of what a pass takes: segmenters need memory too


class Interventions:
    """Runs a generator with the output of `layer` changed, and segments the images."""

    def __init__(self, generator: Generator, segmenter: Segmenter, layer: str) -> None:
        find_layer(generator.module, layer)
        facts = {fact.name: fact for fact in list_layers(generator)}
        if layer not in facts or len(facts[layer].size) != 2:
            near = default_layer(list(facts.values())).name
            raise GanpatchError(f"layer '{layer}' outputs no maps [N, C, h, w] to intervene in; '{near}' does")
        self.generator, self.segmenter, self.layer = generator, segmenter, layer
        self.units = facts[layer].units
        self.size: tuple[int, int] = (facts[layer].size[0], facts[layer].size[1])
        # A segmenter that reads layers of the generator needs them to run as modules, with hooks.
        self._remainder = (Remainder.whole if segmenter.layers else Remainder.of)(generator, layer)

    def prefix(self, seeds: Sequence[int]) -> Prefix:
        """Run what is before the layer."""
        return self._remainder.prefix(seeds)

    def images(self, prefix: Prefix, change: Change) -> Tensor:
        """Return images [N, 3, H, W] with `change` made to the layer's output."""
        return self._remainder(prefix, change)

    def probabilities(self, prefix: Prefix, change: Change) -> Tensor:
        """Return the probability of each concept at each pixel [N, K, H, W]; gradients flow into what `change` uses."""
        features: dict[str, Tensor] = {}

        def keeper(layer: str) -> Callable[[Any, int], Any]:
            def keep(output: Any, _call: int) -> Any:
                found = tensor_of(output)
                assert found is not None
                features[layer] = found.clone()
                return output

            return keep

        with ExitStack() as stack:
            if self.segmenter.layers:
                watch = {layer: keeper(layer) for layer in self.segmenter.layers}
                stack.enter_context(hooked(self.generator.module, watch))
            images = self._remainder(prefix, change)
        return self.segmenter.probabilities(images, [features[layer] for layer in self.segmenter.layers])

    @torch.no_grad()
    def shares(self, prefix: Prefix, change: Change) -> Tensor:
        """Return the share of each image's pixels whose most likely concept it is, [N, K] float64."""
        labels = self.probabilities(prefix, change).argmax(1)
        counts = F.one_hot(labels.flatten(1), len(self.segmenter.concepts)).double().mean(1)
        return counts.cpu()

    def presence(self, probabilities: Tensor) -> Tensor:
        """Return the mean probability in the part of the image that each position of the layer covers, [N, K, h, w]."""
        return F.adaptive_avg_pool2d(probabilities, self.size)


def unchanged(y: Tensor) -> Tensor:
    """Return the activation unchanged."""
    return y


def ablated(units: Tensor, alpha: Tensor | float = 1.0, places: Tensor | None = None) -> Change:
    """Return the change that ablates `units` by alpha, everywhere or at positions `places` [N, h, w] in [0, 1]."""
    return inserted(units, torch.zeros(len(units)), alpha, places)


def inserted(units: Tensor, values: Tensor, alpha: Tensor | float = 1.0, places: Tensor | None = None) -> Change:
    """Return the change that replaces `units` by `values` by alpha, everywhere or at `places` [N, h, w] in [0, 1]."""

    mask = torch.ones(1, 1, 1, 1) if places is None else places.unsqueeze(1)
    amount = torch.as_tensor(alpha).expand(len(units)).view(1, -1, 1, 1) * mask

    def change(y: Tensor) -> Tensor:
        y = y.clone()
        y[:, units] = replaced(y[:, units], amount.to(y), values.to(y).view(1, -1, 1, 1))
        return y

    return change


def one_place(weights: Tensor, seed: int) -> Tensor:
    """Draw one place per map with probability proportional to `weights` [N, h, w]; return it as a mask [N, h, w]."""
    source = torch.Generator().manual_seed(seed)
    flat = weights.flatten(1)
    flat = torch.where(flat.sum(1, keepdim=True) > 0, flat, torch.ones_like(flat))
    chosen = torch.multinomial(flat.cpu(), 1, generator=source)
    return F.one_hot(chosen[:, 0], flat.shape[1]).view(weights.shape).float()


def grown(places: Tensor, radius: int) -> Tensor:
    """Grow masks [N, h, w] by `radius` positions in all directions."""
    if radius == 0:
        return places
    return F.max_pool2d(places.unsqueeze(1), 2 * radius + 1, stride=1, padding=radius)[:, 0]
