"""Generators with planted faults in their weights, so that it is known which units draw them, in every image.

    planted = plant_weights(generator, "layer4", WeightPlanting(kind="wrong direction", count=5, draw=0))
    planted.generator, planted.layer, planted.units

    python -m tools.benchmarks.weight_planting --write docs/finding.md      # does `suggest --by weights` find them?

| kind | what happens to each of `count` random units |
|---|---|
| wrong direction | its outgoing weights become random ones of the same length |
| inverted filter | it is active where it was not, and three times as strongly: its incoming weights times -3 |

Unlike the faults of planting.py, these depend on no level: every image in which the unit is active changes.
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import click
import torch
from torch import Tensor, nn

import ganpatch
from ganpatch.errors import GanpatchError
from ganpatch.finding.weights import scores, weights_around
from ganpatch.generator.generator import Generator
from tools.benchmarks.marked_text import replace_marked
from tools.benchmarks.planting import Planted
from tools.patches.fetch_faces import FACES

DRAWS = range(20, 32)
LAYERS = {
    "churches": ("churches", ("layer2", "layer4", "layer6")),
    "faces": (str(FACES), ("main.2", "main.5", "main.8")),
}
WEIGHT_KINDS = ("wrong direction", "inverted filter")
FACTOR = -3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightPlanting:
    """What is planted: `count` units whose weights are changed in the way of `kind`."""

    kind: str
    count: int = 5
    draw: int = 0


@torch.no_grad()
def plant_weights(generator: Generator, layer: str, planting: WeightPlanting, avoid: Sequence[int] = ()) -> Planted:
    """Change the weights of random units of `layer`, not of those to `avoid`; `generator` stays as it is."""
    module = deepcopy(generator.module)
    into, out_of = neighbours(module, layer)
    units = units_drawn(into, planting, avoid)
    source = torch.Generator().manual_seed(1000 * planting.draw + 500 + WEIGHT_KINDS.index(planting.kind))
    for unit in units:
        if planting.kind == "inverted filter":
            of_unit(into, unit, incoming=True).mul_(FACTOR)
        else:
            weights = of_unit(out_of, unit, incoming=False)
            random = torch.randn(weights.shape, generator=source)
            weights.copy_(random * weights.norm() / random.norm())
    planted = replace(generator, module=module, name=f"{generator.name} with {planting.kind}")
    return Planted(generator=planted, layer=layer, units=tuple(units))


def neighbours(module: nn.Module, layer: str) -> tuple[nn.Module, nn.Module]:
    """Return the convolutions whose outputs and inputs are the units of `layer`, in a generator that is a chain."""
    names = [name for name, _ in module.named_modules()]
    inside = [name for name in names if name == layer or name.startswith(f"{layer}.")]
    last = names.index(inside[-1])
    convolutions = [
        (place, part)
        for place, (_, part) in enumerate(module.named_modules())
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d)
    ]
    before = [part for place, part in convolutions if place <= last]
    after = [part for place, part in convolutions if place > last]
    if not before or not after:
        raise GanpatchError(f"layer '{layer}' has no convolution before and after it")
    return before[-1], after[0]


def units_drawn(into: nn.Module, planting: WeightPlanting, avoid: Sequence[int]) -> list[int]:
    """Return the random units of a planting."""
    assert isinstance(into, nn.Conv2d | nn.ConvTranspose2d)
    source = torch.Generator().manual_seed(1000 * planting.draw + WEIGHT_KINDS.index(planting.kind))
    free = [unit for unit in range(into.out_channels) if unit not in set(avoid)]
    return [free[place] for place in torch.randperm(len(free), generator=source)[: planting.count].tolist()]


def of_unit(convolution: nn.Module, unit: int, *, incoming: bool) -> Tensor:
    """Return the weights with which a unit is computed (`incoming`), or with which it is used."""
    assert isinstance(convolution, nn.Conv2d | nn.ConvTranspose2d)
    first = incoming == isinstance(convolution, nn.Conv2d)
    return convolution.weight[unit] if first else convolution.weight[:, unit]


def precision(generator: Generator, layer: str, planting: WeightPlanting) -> float:
    """Return the share of the planted units among as many that the method `weights` puts first; it draws no image."""
    planted = plant_weights(generator, layer, planting)
    into, _ = neighbours(generator.module, layer)
    assert isinstance(into, nn.Conv2d | nn.ConvTranspose2d)
    first = scores(*weights_around(planted.generator.module, layer, into.out_channels)).topk(planting.count).indices
    return len({*first.tolist()} & {*planted.units}) / planting.count


def table() -> Iterator[str]:
    """Yield the precision of `weights` as lines of Markdown: the mean and the range over the draws."""
    yield f"| model, layer | {' | '.join(WEIGHT_KINDS)} |"
    yield "|---|---|---|"
    for model, (path, layers) in LAYERS.items():
        generator = ganpatch.load(path)
        for layer in layers:
            cells = []
            for kind in WEIGHT_KINDS:
                found = [precision(generator, layer, WeightPlanting(kind=kind, draw=draw)) for draw in DRAWS]
                cells.append(f"{sum(found) / len(found):.2f} ({min(found):.2f} to {max(found):.2f})")
            yield f"| {model}, `{layer}` | {' | '.join(cells)} |"


@click.command(help=__doc__)
@click.option("--write", type=click.Path(exists=True, path_type=Path), help="Write between the marks of this page.")
def main(write: Path | None) -> None:
    text = "\n".join(table())
    print(text)
    if write:
        replace_marked(write, "weights", text)


if __name__ == "__main__":
    main()
