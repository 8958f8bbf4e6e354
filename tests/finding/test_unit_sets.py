"""Units that draw a fault together: scored as the formula says, edited to the mean of the other images."""

import pytest
import torch
from torch import Tensor, nn

from ganpatch import Generator, load
from ganpatch.errors import GanpatchError
from ganpatch.finding.unit_sets import image_levels, units_of_fault
from ganpatch.patch.applying import edits_applied

SEEDS = range(100, 137)
BROKEN = [101, 105, 111, 130, 131]


def levels() -> Tensor:
    made = torch.randn(37, 11, generator=torch.Generator().manual_seed(3)).double()
    rows = [seed - 100 for seed in BROKEN]
    made[rows, 4] += 9
    made[rows, 7] -= 6
    return made


def test_scores_are_shifts_in_deviations() -> None:
    given = levels()
    found = units_of_fault(given, broken=BROKEN, seeds=SEEDS, count=3)
    others = [row for row in range(37) if row + 100 not in BROKEN]
    expected = []
    for unit in range(11):
        own = [float(given[seed - 100, unit]) for seed in BROKEN]
        rest = [float(given[row, unit]) for row in others]
        mean = sum(rest) / len(rest)
        deviation = (sum((value - mean) ** 2 for value in rest) / (len(rest) - 1)) ** 0.5
        expected.append((abs(sum(own) / len(own) - mean) / deviation, unit, mean))
    best = sorted(sorted(expected, reverse=True)[:3], key=lambda one: one[1])
    assert {4, 7} <= set(found.units)
    assert found.units == tuple(unit for _, unit, _ in best)
    assert found.scores == pytest.approx([score for score, _, _ in best])
    assert found.values == pytest.approx([mean for _, _, mean in best], rel=1e-4)


def test_units_that_are_taken_are_left_out() -> None:
    assert 4 not in units_of_fault(levels(), broken=BROKEN, seeds=SEEDS, count=3, without={4}).units


def test_too_few_broken_images_or_units_are_refused() -> None:
    with pytest.raises(GanpatchError) as caught:
        units_of_fault(levels(), broken=[*BROKEN[:3], 7], seeds=SEEDS, count=3)
    assert str(caught.value) == "3 broken images among the seeds are too few; name at least 4"
    with pytest.raises(GanpatchError) as caught:
        units_of_fault(levels(), broken=BROKEN, seeds=SEEDS, count=11, without={1, 2})
    assert str(caught.value) == "9 units are left in the layer, fewer than 11"


def test_levels_are_means_per_image(small_dcgan: Generator) -> None:
    found = image_levels(small_dcgan, ["main.2", "main.5"], range(5))
    assert {layer: tuple(of.shape) for layer, of in found.items()} == {"main.2": (5, 12), "main.5": (5, 8)}


class Twice(nn.Module):
    """A flat layer, and one that runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.flat, self.again, self.out = nn.Linear(4, 6), nn.Conv2d(2, 2, 3, padding=1), nn.ConvTranspose2d(6, 2, 4)

    def forward(self, z: Tensor) -> Tensor:
        x = self.out(self.flat(z)[:, :, None, None])
        return self.again(self.again(x)).repeat(1, 2, 1, 1)[:, :3]


def test_levels_of_a_flat_layer_and_of_one_that_runs_twice() -> None:
    generator = load(Twice().eval(), latent="normal:4")
    found = image_levels(generator, ["flat", "again"], range(40))
    assert {layer: tuple(of.shape) for layer, of in found.items()} == {"flat": (40, 6), "again": (40, 2)}
    module = generator.module
    with torch.no_grad():
        flat = module.flat(*generator.inputs_of(range(40)))  # type: ignore[operator, union-attr]
        first = module.again(module.out(flat[:, :, None, None]))  # type: ignore[operator, union-attr]
    assert torch.allclose(found["flat"], flat.double(), atol=1e-6)
    assert torch.allclose(found["again"], first.double().mean((2, 3)), atol=1e-6), "the first run"


def test_the_edit_holds_its_units_at_the_mean_of_the_other_images(small_dcgan: Generator) -> None:
    before = image_levels(small_dcgan, ["main.5"], range(12))["main.5"]
    found = units_of_fault(before, broken=range(4), seeds=range(12), count=2)
    with edits_applied(small_dcgan.module, [found.edit("fault", "main.5", "a reason")]):
        after = image_levels(small_dcgan, ["main.5"], range(12))["main.5"]
    for unit, value in zip(found.units, found.values, strict=True):
        assert after[:, unit].tolist() == pytest.approx([value] * 12, rel=1e-5)
        assert value == pytest.approx(float(before[4:, unit].mean()), rel=1e-4)
