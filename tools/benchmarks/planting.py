"""Generators with planted defects, so that it is known which units draw them.

    planted = plant(generator, "layer4", Planting(kind="blotch", count=20, rate=0.05, strength=1.0, draw=0))
    planted.generator, planted.layer, planted.units

Each planted unit keeps all that it did. Where its own activation exceeds a level, one that it exceeds in `rate` of the
images, it also draws a defect into the image, at that place. So neither how often it is active nor how
strongly gives it away.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganpatch.forward.activations import batched
from ganpatch.generator.generator import Generator
from ganpatch.generator.layers import hooked

KINDS = ("blotch", "checkerboard", "smear", "colour shift")
MEASURED = range(500_000, 500_512)  # seeds on which levels are set; no method ever sees them


@dataclass(frozen=True, slots=True, kw_only=True)
class Planting:
    """What is planted: `count` units that draw `kind` in a share `rate` of the images each; 1 is moderate strength."""

    kind: str
    count: int = 20
    rate: float = 0.05
    strength: float = 1.0
    draw: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    generator: Generator
    layer: str
    units: tuple[int, ...]


def plant(
    generator: Generator, layer: str, planting: Planting, avoid: Sequence[int] = (), peaks: Tensor | None = None
) -> Planted:
    """Plant defects into random units of `layer`, not into those to `avoid`; `generator` stays as it is.

    `peaks` [N, C] are those of `image_peaks`, if they are known already.
    """
    peaks = image_peaks(generator, layer) if peaks is None else peaks
    source = torch.Generator().manual_seed(1000 * planting.draw + KINDS.index(planting.kind))
    alive = peaks.amax(0) > peaks.median(0).values + 1e-3
    alive[list(avoid)] = False
    alive = alive.nonzero().flatten()
    units = alive[torch.randperm(len(alive), generator=source)[: planting.count]]
    above = peaks[:, units].quantile(1 - planting.rate, 0)
    excess = (peaks[:, units] - above).clamp(min=0)
    span = torch.stack([column[column > 0].median() for column in excess.T])
    look = torch.rand(planting.count, 4, generator=source)
    module = Defective(generator.module, layer, Defects(planting, units, above, span, look, generator.range)).eval()
    return Planted(
        generator=replace(generator, module=module, name=f"{generator.name} with {planting.kind}"),
        layer=f"base.{layer}",
        units=tuple(units.tolist()),
    )


def image_peaks(generator: Generator, layer: str) -> Tensor:
    kept: list[Tensor] = []
    with hooked(generator.module, {layer: lambda y, _call: kept.append(y.amax((2, 3)).clone())}):
        for seeds in batched(MEASURED):
            generator.sample(seeds)
    return torch.cat(kept)


class Defective(nn.Module):
    """A generator that is a chain of layers, with defects drawn into its images by units of one layer."""

    def __init__(self, base: nn.Module, layer: str, defects: "Defects") -> None:
        super().__init__()
        self.base, self.layer, self.defects = base, layer, defects
        assert layer in dict(self.steps()), f"'{layer}' is no step of the chain"

    def steps(self) -> Iterator[tuple[str, nn.Module]]:
        """Return the layers that run one after the other, with their names in the base."""
        for name, child in self.base.named_children():
            if name == getattr(self.base, "parent", None):
                yield from ((f"{name}.{inner}", step) for inner, step in child.named_children())
            else:
                yield name, child

    def forward(self, z: Tensor) -> Tensor:
        x = z.view(z.shape[0], -1, 1, 1)
        seen = x
        for name, step in self.steps():
            x = step(x)
            if name == self.layer:
                seen = x = x.clone()  # an in-place step behind it must not reach what the defects see
                x = x.clone()
        return self.defects(x, seen)


class Defects(nn.Module):
    """Draw one kind of defect where planted units exceed their levels; `look` [U, 4] in [0, 1] distinguishes units."""

    def __init__(
        self, planting: Planting, units: Tensor, above: Tensor, span: Tensor, look: Tensor, limits: Sequence[float]
    ) -> None:
        super().__init__()
        self.planting, self.low, self.high = planting, limits[0], limits[1]
        first = look[:, 0] < 0.5
        for name, tensor in (("units", units), ("above", above), ("span", span), ("look", look), ("first", first)):
            self.register_buffer(name, tensor)

    def forward(self, image: Tensor, activation: Tensor) -> Tensor:
        y = activation.index_select(1, self.units)
        active = ((y - self.above[:, None, None]) / self.span[:, None, None]).clamp(0, 1)
        if self.planting.kind == "colour shift":
            active = _widened(active)
        where = F.interpolate(active, image.shape[-2:], mode="bilinear", align_corners=False)
        x = (image - self.low) / (self.high - self.low)
        x = getattr(self, "_" + self.planting.kind.replace(" ", "_"))(x, where * self.planting.strength)
        return x * (self.high - self.low) + self.low

    def _blotch(self, x: Tensor, where: Tensor) -> Tensor:
        """Soft spots, each unit with a dull colour of its own."""
        where = 0.75 * where
        share = where.sum(1, keepdim=True).clamp(min=1)
        colours = torch.einsum("nuhw,uc->nchw", where / share, 0.15 + 0.5 * self.look[:, :3])
        return x * (1 - (where / share).sum(1, keepdim=True)) + colours

    def _checkerboard(self, x: Tensor, where: Tensor) -> Tensor:
        """Squares, of one pixel or of two, brighter and darker in turns."""
        for edge, chosen in ((1, self.first), (2, ~self.first)):
            rows, columns = (torch.arange(size, device=x.device) // edge for size in x.shape[-2:])
            signs = 1 - 2 * ((rows[:, None] + columns[None, :]) % 2).float()
            x = x + 0.12 * _any(where, chosen) * signs
        return x

    def _smear(self, x: Tensor, where: Tensor) -> Tensor:
        """The image drawn out over a quarter of its size, across or down."""
        length = x.shape[-1] // 4 + 1
        for kernel, chosen in (((length, 1), self.first), ((1, length), ~self.first)):
            padding = (kernel[0] // 2, kernel[1] // 2)
            smeared = F.avg_pool2d(x, kernel, 1, padding, count_include_pad=False)
            x = x + (1.5 * _any(where, chosen)).clamp(max=1) * (smeared - x)
        return x

    def _colour_shift(self, x: Tensor, where: Tensor) -> Tensor:
        """A tint over a wide region, each unit with its own."""
        tints = self.look[:, :3] - self.look[:, :3].mean(1, keepdim=True)
        tints = tints / tints.abs().amax(1, keepdim=True).clamp(min=0.1)
        return x + 0.18 * torch.einsum("nuhw,uc->nchw", where, tints)


def _any(where: Tensor, chosen: Tensor) -> Tensor:
    """Return, per position, the strongest of the chosen units [N, 1, h, w]."""
    return (where * chosen.float()[:, None, None]).amax(1, keepdim=True)


def _widened(active: Tensor) -> Tensor:
    """Spread maps [N, U, h, w] over half of their size, softly."""
    edge = active.shape[-1] // 4 * 2 + 1
    return F.avg_pool2d(F.max_pool2d(active, edge, 1, edge // 2), edge, 1, edge // 2)
