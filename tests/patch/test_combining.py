import pytest
import torch

from ganpatch import Edit, GanpatchError, Mask
from ganpatch.patch.combining import diff_patches, merge_patches, patch_rows
from ganpatch.patch.evidence import Evidence, Record
from ganpatch.patch.patch_file import Model, Prints
from tests.support.patches import made_up_patch


def edit(name: str, units: list[int], **fields: object) -> Edit:
    return Edit(**{"id": name, "layer": "layer4", "channels": 64, "units": units, **fields})


def test_what_two_patches_do_differently() -> None:
    old = made_up_patch(edit("a", [1, 2, 3, 9]), edit("b", [20], alpha=0.5))
    new = made_up_patch(edit("renamed", [1, 2, 3]), edit("b", [20], alpha=0.25, above=2.0), edit("c", [40, 41]))
    assert diff_patches(old, new) == [
        "- layer4 units 9: alpha 1.0, value 0.0",
        "+ layer4 units 40-41: alpha 1.0, value 0.0",
        "~ layer4 unit 20: alpha 0.5 -> 0.25, above None -> 2.0",
    ]
    assert diff_patches(old, old) == []


def test_another_model_is_a_difference() -> None:
    old = made_up_patch(edit("a", [1]))
    other = Prints(structure=old.model.fingerprint.structure, weights=f"sha256:{'2' * 64}")
    new = made_up_patch(edit("a", [1]), model=Model(name="m", fingerprint=other))
    assert diff_patches(old, new) == ["model weights: 111111111111 -> 222222222222"]


def test_patches_are_joined_in_order_with_ids_that_differ() -> None:
    merged = merge_patches(
        [made_up_patch(edit("a", [1]), description="one"), made_up_patch(edit("a", [2]), description="two")],
        name="both",
    )
    assert [(e.id, e.units) for e in merged.edits] == [("a", (1,)), ("a-2", (2,))]
    assert merged.description == "one\ntwo"
    assert len(merged.provenance.parents) == 2


def test_a_merged_patch_was_chosen_on_the_seeds_of_all_and_has_no_figures() -> None:
    chosen = Record(made_by="review", chosen_on=range(10), figures={"gain": 0.5})
    measured = Record(made_by="ganpatch evaluate", measured_on=range(10, 20), figures={"most_frechet": 1.0})
    one = made_up_patch(edit("a", [1]), evidence=Evidence.of(chosen, measured))
    two = made_up_patch(edit("b", [2]), evidence={"flagged": {"seeds": "30-39"}, "fd": 0.5})
    merged = merge_patches([one, two], name="both")
    assert merged.evidence.chosen_seeds() == [range(10), range(30, 40)]
    assert [(record.figures, record.measured_on) for record in merged.evidence.records] == [({}, ""), ({}, "")]
    assert merge_patches([one, one.model_copy(update={"edits": two.edits})], name="twice").evidence == Evidence.of(
        Record(made_by="review", chosen_on=range(10))
    )


def test_two_edits_of_one_unit_are_a_conflict_unless_in_sequence() -> None:
    one, two = made_up_patch(edit("a", [1, 5]), name="one"), made_up_patch(edit("b", [4, 5], alpha=0.5), name="two")
    with pytest.raises(GanpatchError) as fault:
        merge_patches([one, two], name="both")
    assert str(fault.value) == (
        "patches 'one' and 'two' both touch layer4 unit 5; --sequence applies them one after the other"
    )
    assert len(merge_patches([one, two], name="both", sequence=True).edits) == 2


def test_patches_for_other_weights_are_not_joined() -> None:
    one = made_up_patch(edit("a", [1]), name="one")
    other = Prints(structure=one.model.fingerprint.structure, weights=f"sha256:{'2' * 64}")
    two = made_up_patch(edit("a", [2]), name="two", model=Model(name="m", fingerprint=other))
    with pytest.raises(GanpatchError) as fault:
        merge_patches([one, two], name="both")
    assert str(fault.value) == "patches 'one' and 'two' are for different models or weights"


def test_a_summary_reads_like_a_sentence() -> None:
    mask = Mask.of(torch.ones(8, 8))
    rows = patch_rows(
        made_up_patch(
            edit("a", [1, 2], reason="sky"),
            edit("b", [3], alpha=0.5, value=1.5, above=2.0, call=1),
            edit("c", [4], mask=mask),
        )
    )
    assert rows == [
        ("a", "layer4", "1-2 of 64", "ablate", "sky"),
        ("b", "layer4", "3 of 64", "alpha 0.5, value 1.5, where above 2, in run 1", ""),
        ("c", "layer4", "4 of 64", "ablate, inside a 8x8 mask", ""),
    ]
