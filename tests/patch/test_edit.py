"""What an edit accepts and refuses."""

import pytest
import torch
from pydantic import ValidationError

from ganpatch import Edit, GanpatchError, Mask


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"units": [3, 1]}, "units.1: unit 1 comes after 3; units must be sorted"),
        ({"units": [1, 1]}, "units.1: unit 1 is listed twice"),
        ({"units": [0, 8]}, "units.1: unit 8 is outside layer 'l' (8 units, 0-7)"),
        ({"alpha": [0.1, 0.2, 0.3]}, "alpha: 3 numbers for 2 units; give one, or one per unit"),
    ],
)
def test_edits_that_contradict_themselves(fields: dict[str, object], fault: str) -> None:
    with pytest.raises(ValidationError) as found:
        Edit(**{"id": "e", "layer": "l", "channels": 8, "units": [1, 2], **fields})
    assert found.value.errors()[0]["msg"] == fault


@pytest.mark.parametrize("values", [torch.full((2, 2), 1.1), torch.zeros(4), torch.full((2, 2), torch.nan)])
def test_masks_outside_their_range(values: torch.Tensor) -> None:
    with pytest.raises(GanpatchError, match=r"a mask is \[h, w\] or \[units, h, w\] with values in \[0, 1\]"):
        Mask.of(values)


def test_masks_are_equal_when_their_values_are() -> None:
    one, same, other = Mask.of(torch.eye(3)), Mask.of(torch.eye(3)), Mask.of(torch.ones(3, 3))
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one.placed("a.safetensors#x") != one
