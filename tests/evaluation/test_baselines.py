"""Random-unit baselines are the patch with other units: as many, with its masks, at the same levels."""

import pytest
import torch

from ganpatch import Edit, Mask
from ganpatch.evaluation.baselines import Levels, random_edits

LEVELS = {"a": Levels(mean=torch.arange(8.0), deviation=torch.full((8,), 2.0))}


def edit(units: list[int], **fields: object) -> Edit:
    return Edit(**{"id": "one", "layer": "a", "channels": 8, "units": units, **fields})


@pytest.mark.parametrize("number", range(8))
def test_they_are_other_units_at_the_same_distance_from_their_means(number: int) -> None:
    (made,) = random_edits([edit([1, 3], value=[2.0, 3.0], above=[2.0, 3.0])], LEVELS, number)
    assert len(made.units) == 2
    assert not {1, 3} & set(made.units)
    assert made.above == made.value == (made.units[0] + 1.0, float(made.units[1]))


def test_a_value_of_zero_stays_zero() -> None:
    (made,) = random_edits([edit([1, 3])], LEVELS, 0)
    assert (made.value, made.above) == ((0.0,), None)


def test_masks_per_unit_are_kept() -> None:
    values = torch.rand(2, 4, 4)
    (made,) = random_edits([edit([1, 3], mask=Mask.of(values))], LEVELS, 0)
    assert made.mask is not None
    assert torch.equal(made.mask.values, values)


def test_alphas_per_unit_are_kept() -> None:
    (made,) = random_edits([edit([1, 3], alpha=[0.5, 0.25])], LEVELS, 0)
    assert made.alpha == (0.5, 0.25)


def test_a_set_of_most_units_gets_as_many_from_the_whole_layer() -> None:
    made = [random_edits([edit([0, 1, 2, 3, 4, 5])], LEVELS, number)[0].units for number in range(10)]
    assert {len(units) for units in made} == {6}
    assert len(set(made)) > 1


def test_two_edits_of_a_layer_share_no_unit() -> None:
    for number in range(8):
        first, second = random_edits([edit([1, 3]), edit([5, 6], id="two")], LEVELS, number)
        assert not set(first.units) & set(second.units)
