"""The set of units that causes a concept: alphas in [0, 1], by projected gradient descent (Bau et al. 2018, sec. 3.2).

    alphas = Alphas(bench, study, preset=PRESETS["sparse"])
    while alphas.step < 250:
        alphas.descend()
    alphas.alpha                            # [C]

Each step ablates by alpha at a position where the concept is, and, on other images, inserts by alpha where it is not.
The first should lower the presence of the concept there, the second raise it. Both are read at their own position.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ganpatch.causes.interventions import Interventions, grown, one_place
from ganpatch.errors import GanpatchError
from ganpatch.graph.prefix import Prefix
from ganpatch.patch.equation import replaced

_BATCH = 8  # images ablated, and as many inserted into
_PRESENT = 0.25  # from this mean probability on, a place has the concept


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """How alphas are optimised: the optimiser, its rate, and the penalty."""

    optimizer: Callable[[list[Tensor]], torch.optim.Optimizer]
    penalty: Callable[[Tensor], Tensor]
    start: Callable[[Tensor], Tensor]


def _iou_start(iou: Tensor) -> Tensor:
    return iou / iou.max().clamp(min=1e-9)


# Under "sparse", which is ours, few alphas stay high, so that the first twenty of them can be ranked: with the smaller
# penalty of the reference code, dozens end at 1 (tools/documentation/show_dissection.py).
# The paper's lambda of 100 is read as relative to presence in pixels: a position at 8x8 covers 1024 pixels of 256x256.
# It states neither the rate nor the initial value. The reference code starts at the IoU.
PRESETS: Mapping[str, Preset] = {
    "sparse": Preset(
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.03),
        penalty=lambda alpha: 0.015 * alpha.square().sum(),
        start=_iou_start,
    ),
    "reference": Preset(
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.01),
        penalty=lambda alpha: 0.005 * alpha.square().sum(),
        start=_iou_start,
    ),
    "paper": Preset(
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.05),
        penalty=lambda alpha: 100 / 1024 * torch.linalg.vector_norm(alpha),
        start=lambda iou: torch.full_like(iou, 0.5),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What is known of a concept before any intervention, from the images of N seeds.

    `prefix` is what is computed before the layer, `presence` [N, h, w] the concept's mean probability per place, `iou`
    [C] is of each unit, `values` [C] are what an insertion puts in, `index` is the concept's place in the segmenter.
    """

    prefix: Prefix
    presence: Tensor
    iou: Tensor
    values: Tensor
    index: int

    @property
    def holding(self) -> Tensor:
        """The images that contain the concept at some position, [M]."""
        return (self.presence.flatten(1).amax(1) > _PRESENT).nonzero().flatten()


class Alphas:
    """Alphas of one concept being optimised; the same seeds and steps lead to the same alphas, interrupted or not."""

    def __init__(self, bench: Interventions, study: Study, preset: Preset, radius: int = 1) -> None:
        self._bench, self._study, self._preset, self._radius = bench, study, preset, radius
        self.alpha = preset.start(study.iou).clone().requires_grad_()
        self._optimizer = preset.optimizer([self.alpha])
        self._holding = study.holding
        self.step = 0

    def descend(self) -> float:
        """Do one step and return its loss."""
        effect = self._loss()
        if not effect.requires_grad:
            raise GanpatchError(
                f"segmenter '{self._bench.segmenter.name}' has no gradient, which alphas need; "
                "use one in torch, or strokes"
            )
        loss = effect + self._preset.penalty(self.alpha)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        with torch.no_grad():
            self.alpha.clamp_(0, 1)
        self.step += 1
        return loss.item()

    def _loss(self) -> Tensor:
        """Presence after ablation minus presence after insertion, each at its own position."""
        source = torch.Generator().manual_seed(self.step)
        from_images = self._holding[torch.randint(len(self._holding), (_BATCH,), generator=source)]
        into_images = torch.randint(len(self._study.presence), (_BATCH,), generator=source)
        here, there = self._study.presence[from_images], self._study.presence[into_images]
        read = torch.cat(
            [one_place(here * (here > _PRESENT), 2 * self.step), one_place((1 - there).clamp(min=0), 2 * self.step + 1)]
        )
        places = grown(read, self._radius).unsqueeze(1)
        prefix = self._study.prefix.rows(torch.cat([from_images, into_images]))
        values = torch.cat([torch.zeros(_BATCH, len(self.alpha)), self._study.values.expand(_BATCH, -1)])

        def change(y: Tensor) -> Tensor:
            return replaced(y, (places * self.alpha.view(1, -1, 1, 1)).to(y), values.to(y)[..., None, None])

        probabilities = self._bench.probabilities(prefix, change)
        presence = self._bench.presence(probabilities[:, self._study.index, None])[:, 0]
        presence = (presence * read.to(probabilities)).sum((1, 2))
        return presence[:_BATCH].mean() - presence[_BATCH:].mean()

    def tensors(self) -> dict[str, Tensor]:
        """Return the state."""
        state = self._optimizer.state.get(self.alpha, {})
        kept = {name: torch.as_tensor(value) for name, value in state.items() if value is not None}
        return {"alpha": self.alpha.detach(), "done": torch.tensor(self.step), **{f"o.{n}": t for n, t in kept.items()}}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from a state."""
        with torch.no_grad():
            self.alpha.copy_(tensors["alpha"])
        self.step = int(tensors["done"])
        kept = {name[2:]: tensor for name, tensor in tensors.items() if name.startswith("o.")}
        if kept:
            self._optimizer.state[self.alpha] = kept
