"""Running statistics against plain ones over everything at once, on odd sizes, in any order and any split."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ganpatch.ranking.running_stats import Moments, QuantileSample, TopK, quantile_of


def brute_top(scores: Tensor, seeds: list[int], k: int) -> tuple[list[list[int]], Tensor]:
    """The k best per unit by sorting everything: highest first, ties by the smaller seed."""
    rows = [
        sorted(range(len(seeds)), key=lambda n: (-scores[n, c].item(), seeds[n]))[:k] for c in range(scores.shape[1])
    ]
    return [[seeds[n] for n in row] for row in rows], torch.stack([scores[row, c] for c, row in enumerate(rows)])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 23), st.integers(1, 7), st.integers(1, 9), st.randoms())
def test_top_k_equals_sorting_everything(images: int, units: int, k: int, random) -> None:  # type: ignore[no-untyped-def]
    scores = torch.tensor([[float(random.randint(-3, 3)) for _ in range(units)] for _ in range(images)])  # many ties
    seeds = random.sample(range(1000), images)
    seeds = random.choice([seeds, sorted(seeds)])  # seeds that rise take a shorter way
    wanted_seeds, wanted_scores = brute_top(scores, seeds, k)
    parts = [TopK(units, k), TopK(units, k)]
    place = 0
    while place < images:
        size = random.randint(1, 5)
        maps_of = lambda rows, units: torch.zeros(len(rows), 0, 0)  # noqa: E731
        part = random.choice(parts)
        part.update(scores[place : place + size], seeds[place : place + size], maps_of)
        part.take(part.tensors())  # as one that resumes from what was kept
        place += size
    parts[0].merge(parts[1])
    top = parts[0].result()
    assert top.seeds.tolist() == wanted_seeds
    assert torch.equal(top.scores, wanted_scores)


def test_maps_follow_their_image() -> None:
    torch.manual_seed(0)
    top, other = TopK(3, 4, (2, 2)), TopK(3, 4, (2, 2))
    activation = torch.rand(29, 3, 2, 2)
    for start in range(0, 29, 5):
        part = activation[start : start + 5]
        target = top if start % 2 else other
        target.update(
            part.amax((2, 3)), range(start, start + len(part)), lambda rows, units, part=part: part[rows, units]
        )
    top.merge(other)
    result = top.result()
    for unit in range(3):
        assert torch.equal(result.maps[unit], activation[result.seeds[unit], unit].half())


def test_moments_equal_plain_ones() -> None:
    torch.manual_seed(0)
    activation = torch.randn(13, 5, 7)
    one, two = Moments(5), Moments(5)
    for target, part in ((one, activation[:6]), (two, activation[6:])):
        target.update(part, part.sum(2), part.amax(2))
    one.merge(two)
    mean, firing_rate, peak = one.result()
    assert torch.allclose(mean, activation.mean((0, 2)), atol=1e-6)
    assert torch.equal(firing_rate, ((activation > 0).double().mean((0, 2))).float())
    assert torch.equal(peak, activation.amax((0, 2)))


def test_counting_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganpatch.ranking.running_stats._AT_ONCE", 16)
    activation = torch.randn(7, 5, 6)
    moments = Moments(5)
    moments.update(activation, activation.sum(2), activation.amax(2))
    assert moments.positive.tolist() == (activation > 0).sum((0, 2)).tolist()


@pytest.mark.parametrize("size", [1, 2, 37, 900, 20_011])
def test_a_quantile_equals_torchs(size: int) -> None:
    torch.manual_seed(size)
    values = torch.randn(3, size).round(decimals=2)  # with ties
    for level in (0.5, 0.99, 0.999):
        assert torch.allclose(quantile_of(values, level), values.quantile(level, dim=1), atol=1e-6), level


def test_what_enters_is_told() -> None:
    top = TopK(2, k=2)
    assert sorted(top.update(torch.tensor([[1.0, 5.0], [2.0, 4.0], [0.0, 3.0]]), [10, 11, 12]).tolist()) == [0, 0, 1, 1]
    assert top.update(torch.tensor([[0.5, 3.0]]), [13]).tolist() == []
    assert top.update(torch.tensor([[0.0, 0.0], [9.0, 0.0]]), [14, 15]).tolist() == [1]


def test_state_that_does_not_fit_is_refused() -> None:
    for mine, other in (
        (TopK(3, 2), TopK(3, 4)),
        (QuantileSample(3, pixels=4, images=5), QuantileSample(2, pixels=4, images=5)),
    ):
        with pytest.raises(ValueError, match="not"):
            mine.take(other.tensors())


def test_quantiles_of_everything_are_exact() -> None:
    torch.manual_seed(0)
    activation = torch.randn(31, 3, 9)
    sample = QuantileSample(3, pixels=9, images=31, size=1000)
    for start in range(0, 31, 4):
        sample.update(activation[start : start + 4], range(start, min(31, start + 4)))
    flat = activation.transpose(0, 1).flatten(1)
    for level, found in zip((0.9, 0.99, 0.999), sample.result([0.9, 0.99, 0.999]), strict=True):
        assert torch.allclose(found, flat.quantile(level, dim=1), atol=1e-6)


def test_quantiles_of_a_sample_are_near_and_do_not_depend_on_batches() -> None:
    torch.manual_seed(0)
    activation = torch.randn(3000, 2, 40)
    results = []
    for batch in (64, 7):
        sample = QuantileSample(2, pixels=40, images=3000, size=16384)
        for start in range(0, 3000, batch):
            sample.update(activation[start : start + batch], range(start, min(3000, start + batch)))
        results.append(torch.stack(sample.result([0.99])))
    assert torch.equal(*results)
    tail = (activation.transpose(0, 1).flatten(1) > results[0][0][:, None]).double().mean(1)
    assert ((tail > 0.006) & (tail < 0.015)).all()


def test_the_sample_does_not_grow_with_the_images() -> None:
    sample = QuantileSample(2, pixels=10**6, images=10**6, size=500)
    assert sample.values.numel() <= 2 * 700
    activation = torch.randn(100, 2, 10)
    sample = QuantileSample(2, pixels=10, images=10_000, size=500)
    for start in range(0, 10_000, 100):
        sample.update(activation, range(start, start + 100))
    assert 400 <= int(sample.count) <= 620


def test_samples_merge() -> None:
    activation = torch.randn(8, 2, 5)
    whole = QuantileSample(2, pixels=5, images=8)
    whole.update(activation, range(8))
    one, two = QuantileSample(2, pixels=5, images=8), QuantileSample(2, pixels=5, images=8)
    one.update(activation[:3], range(3))
    two.update(activation[3:], range(3, 8))
    one.merge(two)
    assert torch.equal(torch.stack(one.result([0.5])), torch.stack(whole.result([0.5])))


def test_several_runs_of_a_layer_count_as_one_image() -> None:
    """Of the scores that an image gets in one pass, the best one counts, wherever it came."""
    runs = torch.randn(3, 40, 5)
    top = TopK(5, k=7)
    for start in range(0, 40, 8):
        for scores in runs[:, start : start + 8]:
            top.update(scores, range(start, start + 8))
    best = runs.amax(0)
    assert torch.equal(top.result().scores, best.T.topk(7, 1).values)
    assert torch.equal(best.T.gather(1, top.result().seeds), top.result().scores)
