"""The verdict has two sides: each of its answers is reached, and none of them by a patch that does not deserve it."""

from dataclasses import replace
from typing import Any

import pytest

from ganpatch.evaluation.verdict import Change, Measured, judge_change, rank_p_value


def changes(*relative: float) -> tuple[Change, ...]:
    return tuple(Change(before=1, after=1 + one) for one in relative)


SPREAD = [0.001 * n for n in range(-10, 10)]  # 20 baselines around 0
SAME = Change(before=0.9, after=0.9)
GOOD = Measured(
    score="mean error",
    is_independent=True,
    most=Change(before=20, after=16),
    all=Change(before=18, after=17),
    fine=Change(before=17, after=17.01),
    baselines=changes(*SPREAD),
    precision=SAME,
    recall=SAME,
    touched=0.6,
    largest=0.2,
    ssim=0.99,
)


def test_a_repair_is_better_and_says_by_how_much() -> None:
    verdict = judge_change(GOOD)
    assert verdict.answer == "better"
    assert verdict.p_value == pytest.approx(1 / 21)
    assert verdict.sentence == (
        "Better: the mean error of the images that most activate its units falls from 20 to 16 (-20.0%); "
        "20 random-unit baselines: -1.0% to +0.9%, p = 0.048; over all images it falls from 18 to 17 (-5.6%), "
        "precision 0.90 to 0.90, recall 0.90 to 0.90; images that were fine keep an SSIM of 0.990."
    )


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ({"is_independent": False}, "more typical"),
        ({"is_independent": False, "judged": "Preferred in 80% of 40 pairs."}, "better"),
        ({"all": Change(before=18, after=18.5)}, "mixed"),
        ({"fine": Change(before=17, after=17.6)}, "mixed"),
        ({"fine": Change(before=17, after=17.3)}, "better"),
        ({"fine": Change(before=17, after=17.5), "all": Change(before=18, after=14)}, "better"),  # all gain far more
        ({"recall": Change(before=0.93, after=0.64)}, "mixed"),
        ({"recall": Change(before=0.93, after=0.64), "coverage": Change(before=0.8, after=0.6)}, "mixed"),
        ({"recall": Change(before=0.93, after=0.64), "coverage": Change(before=0.8, after=0.82)}, "better"),
        ({"coverage": Change(before=0.8, after=0.6)}, "better"),
        ({"precision": Change(before=0.93, after=0.64)}, "mixed"),
        ({"recall": Change(before=0.93, after=0.64), "is_paired": True}, "better"),
        ({"baselines": changes(*SPREAD[1:], -0.25)}, "not shown"),  # one of 20 does as much
        ({"baselines": changes(*[0.03 * n for n in range(-6, 14)])}, "not shown"),  # lower than all, but not apart
        ({"baselines": changes(*SPREAD[:-2], 0.5, 0.9)}, "better"),  # baselines that do much harm hide no repair
        ({"baselines": changes(*SPREAD[:10])}, "not shown"),  # too few
        ({"baselines": ()}, "not shown"),
        ({"most": Change(before=20, after=20.1), "ssim": 0.9}, "not shown"),
        ({"most": Change(before=20, after=23), "all": Change(before=18, after=19)}, "worse"),
        ({"most": Change(before=20, after=19.9), "all": Change(before=18, after=19)}, "worse"),
        ({"touched": 0, "largest": 0, "most": SAME, "all": SAME, "fine": SAME, "ssim": 1}, "no change"),
        ({"most": Change(before=3.75, after=3.72), "all": SAME, "ssim": 1}, "no change"),
        ({"largest": 0.001}, "no change"),  # nobody sees it
    ],
)
def test_every_answer(fields: dict[str, Any], answer: str) -> None:
    assert judge_change(replace(GOOD, **fields)).answer == answer


def test_a_weak_reference_names_the_way_to_know() -> None:
    text = judge_change(replace(GOOD, is_independent=False)).sentence
    assert text.startswith("More typical: the mean error of")
    assert text.endswith(
        " Without real images this does not show that they are better: compare them with `ganpatch judge`."
    )


def test_a_patch_that_never_acts_says_so() -> None:
    still = replace(GOOD, touched=0, largest=0, most=SAME, all=SAME, fine=SAME, ssim=1)
    assert judge_change(still).sentence == "No change: the patch never acts on these images."


def test_coverage_is_reported_beside_recall() -> None:
    text = judge_change(replace(GOOD, coverage=Change(before=0.8, after=0.82))).sentence
    assert "precision 0.90 to 0.90, recall 0.90 to 0.90, coverage 0.80 to 0.82; images" in text


def test_where_each_image_has_a_right_one_shares_are_not_in_the_sentence() -> None:
    text = judge_change(replace(GOOD, is_paired=True)).sentence
    assert "; over all images it falls from 18 to 17 (-5.6%); images that were fine" in text


def test_too_few_baselines_are_named() -> None:
    text = judge_change(replace(GOOD, baselines=changes(*SPREAD[:10]))).sentence
    assert text.endswith(" At least 20 baselines are needed to show an improvement.")


def test_a_fall_within_the_spread_of_random_units_says_so() -> None:
    text = judge_change(replace(GOOD, baselines=changes(*[0.03 * n for n in range(-6, 14)]))).sentence
    assert text.startswith("Not shown: ")
    assert text.endswith(" Random units spread so widely that they may do as much.")


def test_the_p_value_counts_the_patch_among_its_baselines() -> None:
    own, others = Change(before=2, after=1), changes(-0.6, -0.5, -0.4, 0.1)
    assert rank_p_value(own, others) == pytest.approx(3 / 5)
    assert rank_p_value(own, ()) is None
