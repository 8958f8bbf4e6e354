"""The benchmark of the verdict: its patches are what they are called, and its table judges by the rules as they are."""

from dataclasses import asdict, replace

import pytest
import torch

from ganpatch import Generator
from ganpatch.evaluation.verdict import Change
from tests.evaluation.test_verdict import GOOD
from tools.benchmarks import bench_verdict
from tools.benchmarks.bench_verdict import SUBJECTS, idle_try, main_object_try, random_try, table, verdict_of

NAME = "random DCGAN, its own images as real ones"
SMALL = replace(SUBJECTS[NAME], layers=("main.5",), units=2)


def test_random_sets_are_off_or_at_their_means_and_differ(small_dcgan: Generator) -> None:
    (first,), (second,), (third,) = (random_try(small_dcgan, SMALL, number).edits for number in range(3))
    assert first.value in (None, (0.0,))
    assert second.value not in (None, (0.0,))
    assert len({first.units, second.units, third.units}) > 1
    assert all(len(edit.units) == 2 for edit in (first, second, third))


def test_the_main_object_is_what_changes_images_most(small_dcgan: Generator) -> None:
    (edit,) = main_object_try(small_dcgan, SMALL, 0).edits
    before = small_dcgan.sample(range(50_000, 50_004))
    change = []
    for unit in range(8):
        handle = small_dcgan.module.main[5].register_forward_hook(lambda _m, _i, y, unit=unit: cut(y, unit))  # type: ignore[index, union-attr]
        change.append(float((small_dcgan.sample(range(50_000, 50_004)) - before).abs().mean()))
        handle.remove()
    assert edit.units == tuple(sorted(torch.tensor(change).topk(2).indices.tolist()))


def cut(y: torch.Tensor, unit: int) -> torch.Tensor:
    y = y.clone()
    y[:, unit] = 0
    return y


def test_an_idle_patch_changes_nothing(small_dcgan: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_verdict, "SEEDS", 50)
    found = verdict_of(idle_try(small_dcgan, SMALL, 0), 0, None)
    assert found["answer"] == "no change"
    assert bench_verdict.answer_of(found) == "no change"


def test_the_table_judges_by_the_rules_as_they_are() -> None:
    worse = replace(GOOD, most=Change(before=1, after=2), all=Change(before=1, after=2))
    kept = {
        f"{NAME}/random/0": {"answer": "worse", "measured": asdict(GOOD)},  # by former rules
        f"{NAME}/random/1": {"answer": "better", "measured": asdict(worse)},
        f"{NAME}/random/2": {"answer": "not shown"},
    }
    assert table(kept).splitlines()[2:] == [
        f"| {NAME} | random | not better | 2 of 3 | 1 better, 1 worse, 1 not shown |"
    ]
