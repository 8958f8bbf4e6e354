"""Comparing pairs by eye: unmarked, shuffled, counted with intervals, and never on seeds that were used before."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ganpatch import Generator, Patch
from ganpatch.errors import GanpatchError
from ganpatch.evaluation.judging import (
    ANSWERS,
    COMPARISON,
    Answer,
    Answers,
    Comparison,
    Pair,
    Share,
    count_answers,
    preferred_by_eye,
    read_answers,
    read_comparison,
    wilson_interval,
)
from ganpatch.evaluation.pairs import PairChoices, draw_pairs
from ganpatch.pages.image_grids import to_pixels
from ganpatch.patch.applying import applied
from ganpatch.patch.evidence import Evidence, Record
from tests.support.shared import patch_for

FEW = PairChoices(pairs=10, seeds=range(60_000, 60_100), baselines=4)


@pytest.fixture
def patch(small_dcgan: Generator) -> Patch:
    return patch_for(small_dcgan, {"layer": "main.5", "channels": 8, "units": [1, 3]})


def test_pairs_are_before_and_after_with_sides_shuffled(small_dcgan: Generator, patch: Patch, tmp_path: Path) -> None:
    made = draw_pairs(small_dcgan, patch, tmp_path, FEW)
    assert read_comparison(tmp_path) == made
    assert len(made.pairs) == 20
    assert [sum(pair.edit == kind for pair in made.pairs) for kind in ("patch", "baseline")] == [10, 10]
    assert sum(pair.where == "most" for pair in made.pairs if pair.edit == "patch") == 5
    assert {pair.edited for pair in made.pairs} == {"left", "right"}
    for pair in made.pairs:
        shown = {side: picture(tmp_path / "pairs" / f"{pair.id}-{side}.png") for side in ("left", "right")}
        before = torch.from_numpy(to_pixels(small_dcgan.sample([pair.seed]))[0])
        other = "left" if pair.edited == "right" else "right"
        assert torch.equal(shown[other], before)
        if pair.edit == "patch":
            with applied(small_dcgan.module, patch):
                after = torch.from_numpy(to_pixels(small_dcgan.sample([pair.seed]))[0])
            assert torch.equal(shown[pair.edited], after)


def picture(path: Path) -> torch.Tensor:
    with Image.open(path) as opened:
        return torch.from_numpy(np.asarray(opened.convert("RGB")).copy())


def test_seeds_that_the_evidence_names_are_left_out(small_dcgan: Generator, patch: Patch, tmp_path: Path) -> None:
    used = patch.with_record(Record(made_by="ganpatch evaluate", measured_on="60000-60070"))
    made = draw_pairs(small_dcgan, used, tmp_path, FEW)
    assert min(pair.seed for pair in made.pairs) > 60_070
    more = patch.with_record(Record(made_by="review", chosen_on="60000-60085"))
    with pytest.raises(GanpatchError) as caught:
        draw_pairs(small_dcgan, more, tmp_path, FEW)
    assert str(caught.value) == (
        "14 unused seeds are too few for 10 pairs; give at least 20 that the patch's evidence does not name, as --seeds"
    )


def comparison(*pairs: tuple[str, str, str]) -> Comparison:
    made = [
        Pair(id=f"{number:016x}", seed=number, where=where, edit=edit, edited=edited)  # type: ignore[arg-type]
        for number, (where, edit, edited) in enumerate(pairs)
    ]
    return Comparison(id="ab" * 8, patch="sha256:0", name="fix", pairs=tuple(made))


def answers(*better: str) -> Answers:
    given = [Answer(pair=f"{number:016x}", better=one) for number, one in enumerate(better)]  # type: ignore[arg-type]
    return Answers(comparison="ab" * 8, answers=tuple(given))


def test_answers_are_counted_by_edit_and_by_images() -> None:
    asked = comparison(
        ("most", "patch", "left"), ("most", "patch", "right"), ("all", "patch", "left"), ("most", "baseline", "left")
    )
    judged = count_answers(asked, answers("left", "left", "same", "right"))
    assert judged.patch["most"] == Share(preferred=1, against=1, same=0)
    assert judged.patch["all"] == Share(preferred=0, against=0, same=1)
    assert judged.baseline["most"] == Share(preferred=0, against=1, same=0)
    assert (judged.answered, judged.pairs, judged.patch["all"].share) == (4, 4, None)
    assert judged.sentence == (
        "On its most active images the patched image was preferred in 50% of 2 pairs (9% to 91%); "
        "with random units in 0% of 1 pairs (0% to 79%)."
    )
    record = judged.record()
    assert record.made_by == "ganpatch judge"
    assert record.figures["patch_preferred_most"].value == 0.5
    assert "patch_preferred_all" not in record.figures


def test_the_last_answer_to_a_pair_counts() -> None:
    asked = comparison(("most", "patch", "left"))
    twice = answers("left").model_copy(update={"answers": (*answers("left").answers, *answers("right").answers)})
    assert count_answers(asked, twice).patch["most"] == Share(preferred=0, against=1)


@pytest.mark.parametrize(("hits", "count", "low", "high"), [(0, 10, 0, 0.2775), (5, 10, 0.2366, 0.7634), (0, 0, 0, 1)])
def test_the_interval_is_wilsons(hits: int, count: int, low: float, high: float) -> None:
    assert wilson_interval(hits, count) == pytest.approx((low, high), abs=1e-4)


def test_preferred_needs_certainty_and_more_than_the_baselines() -> None:
    asked = comparison(*[("most", "patch", "left")] * 20, *[("most", "baseline", "left")] * 20)
    assert count_answers(asked, answers(*["left"] * 20, *["right"] * 20)).is_preferred
    assert not count_answers(asked, answers(*["left"] * 40)).is_preferred
    assert not count_answers(asked, answers(*["left"] * 11, *["right"] * 29)).is_preferred


def test_the_evidence_says_whether_the_patch_was_preferred() -> None:
    asked = comparison(*[("most", "patch", "left")] * 20, *[("most", "baseline", "left")] * 20)
    preferred = count_answers(asked, answers(*["left"] * 20, *["right"] * 20))
    assert preferred_by_eye(Evidence.of(preferred.record())) == preferred.sentence
    not_preferred = count_answers(asked, answers(*["left"] * 11, *["right"] * 29))
    assert preferred_by_eye(Evidence.of(not_preferred.record())) == ""
    assert preferred_by_eye(Evidence()) == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"comparison": "cd" * 8, "answers": []}, "answers another comparison (cdcdcdcdcdcdcdcd), not this one"),
        (
            {"comparison": "ab" * 8, "answers": [{"pair": "f" * 16, "better": "left"}]},
            "pair ffffffffffffffff is not in",
        ),
        ({"comparison": "ab" * 8, "answers": [{"pair": "0" * 16, "better": "up"}]}, "answers.0.better"),
    ],
)
def test_answers_of_another_comparison_are_refused(content: Any, message: str, tmp_path: Path) -> None:
    (tmp_path / ANSWERS).write_text(json.dumps(content))
    with pytest.raises(GanpatchError) as caught:
        read_answers(tmp_path / ANSWERS, comparison(("most", "patch", "left")))
    assert message in str(caught.value)


def test_a_folder_without_a_comparison_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(GanpatchError) as caught:
        read_comparison(tmp_path)
    assert str(caught.value) == (
        f"'{tmp_path}' holds no comparison; make one with: ganpatch judge MODEL PATCH.yaml -o {tmp_path}"
    )
    assert not (tmp_path / COMPARISON).exists()


def test_the_same_patch_with_other_weights_is_refused(small_dcgan: Generator, patch: Patch, tmp_path: Path) -> None:
    other = replace(small_dcgan, module=torch.nn.Sequential(torch.nn.Conv2d(8, 3, 1)))
    with pytest.raises(GanpatchError, match="is for another model"):
        draw_pairs(other, patch, tmp_path, FEW)
