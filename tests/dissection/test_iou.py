"""IoU of units and concepts against counting pixel by pixel; thresholds against trying all of them."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ganpatch.dissection.iou import ConceptCounts, Upsampler
from ganpatch.dissection.thresholds import LabelledSample, best_thresholds, quantile_thresholds
from tests.support.brute_force import iou_and_accuracy

SIZES = [((3, 5), (7, 9)), ((8, 8), (64, 64)), ((4, 4), (4, 4)), ((16, 12), (10, 30))]


@pytest.mark.parametrize(("source", "target"), SIZES)
def test_upsampling_is_that_of_interpolate(source: tuple[int, int], target: tuple[int, int]) -> None:
    maps = torch.randn(4, *source)
    wanted = F.interpolate(maps.unsqueeze(0), target, mode="bilinear", align_corners=False)[0]
    assert torch.allclose(Upsampler(source, target)(maps), wanted, atol=1e-5)


@pytest.mark.parametrize("columns", [1, 3])
@pytest.mark.parametrize(("source", "target"), SIZES)
def test_counts_equal_counting_one_by_one(source: tuple[int, int], target: tuple[int, int], columns: int) -> None:
    torch.manual_seed(0)
    activation, labels = torch.randn(5, 6, *source), torch.randint(-1, 4, (5, *target))
    thresholds = torch.randn(6, columns) * 0.5
    counts = ConceptCounts(thresholds, concepts=3)
    counts.update(activation[:2], labels[:2])
    other = ConceptCounts(thresholds, concepts=3)
    other.update(activation[2:], labels[2:])
    counts.merge(other)
    for found, wanted in zip(counts.result(), iou_and_accuracy(activation, labels, thresholds, 3), strict=True):
        assert torch.allclose(found, wanted, atol=2e-3 if source != target else 1e-6)


def test_a_unit_that_is_the_concept_has_iou_one() -> None:
    labels = torch.randint(0, 3, (4, 8, 8))
    counts = ConceptCounts(torch.full((1, 1), 0.5), concepts=3)
    counts.update((labels == 1).float().unsqueeze(1), labels)
    iou, accuracy = counts.result()
    assert iou[0, 1] == 1
    assert accuracy[0, 1] == 1
    assert iou[0, 0] == 0
    shifted = ConceptCounts(torch.full((1, 1), 0.5), concepts=3)
    shifted.update((labels == 1).float().unsqueeze(1).roll(1, 3), labels)
    assert shifted.result()[0][0, 1] < 0.5, "registration matters"


def quality(values: Tensor, labels: Tensor, concept: int, threshold: float) -> float:
    """I / H straight from the definition."""
    joint = torch.zeros(2, 2, dtype=torch.float64)
    for value, label in zip(values.tolist(), labels.tolist(), strict=True):
        joint[int(value > threshold), int(label == concept)] += 1
    joint /= joint.sum()

    def entropy(shares: Tensor) -> float:
        return -sum(s * torch.log(s) for s in shares.flatten() if s > 0)

    h = entropy(joint)
    return float((entropy(joint.sum(0)) + entropy(joint.sum(1)) - h) / h) if h > 0 else 0.0


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_thresholds_are_the_best_of_all(seed: int, rectified: bool) -> None:
    source = torch.Generator().manual_seed(seed)
    values = torch.randn(2, 40, generator=source)
    values = values.relu() if rectified else values
    labels = torch.randint(0, 3, (40,), generator=source)
    thresholds, iou = best_thresholds(values, labels, 2)
    for unit, concept in itertools.product(range(2), range(2)):
        tried = [quality(values[unit], labels, concept, t) for t in sorted(set(values[unit].tolist()))[:-1]]
        above = [sum(v > t for v in values[unit].tolist()) for t in sorted(set(values[unit].tolist()))[:-1]]
        allowed = [q for q, n in zip(tried, above, strict=True) if n <= 0.9 * 40]
        threshold = thresholds[unit, concept].item()
        assert quality(values[unit], labels, concept, threshold) == pytest.approx(max(allowed), abs=1e-6)
        on, there = values[unit] > threshold, labels == concept
        assert iou[unit, concept].item() == pytest.approx(((on & there).sum() / (on | there).sum()).item(), abs=1e-6)


def test_a_unit_that_never_varies_never_fires() -> None:
    thresholds, iou = best_thresholds(torch.ones(1, 50), torch.randint(0, 2, (50,)), 2)
    assert not (torch.ones(1) > thresholds).any()
    assert not iou.any()


def test_quantile_thresholds() -> None:
    values = torch.arange(1000.0).view(1, -1)[:, torch.randperm(1000)]
    assert quantile_thresholds(values, 0.99).shape == (1, 1)
    assert (values > quantile_thresholds(values, 0.99)).sum() == 9


def test_a_labelled_sample_pairs_values_with_their_labels() -> None:
    sample = LabelledSample(2, pixels=100, images=3, size=60)
    for seed in range(3):
        labels = torch.randint(0, 5, (100,))
        sample.update(torch.stack([labels.float(), -labels.float()]), labels, seed)
    assert sample.values.shape == (2, 60)
    assert torch.equal(sample.values[0].long(), sample.labels)
    assert torch.equal(sample.values[1], -sample.values[0])
