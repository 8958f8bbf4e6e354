"""Weights: units whose weights are wrong come first; the score is that of the formula."""

import math

import pytest
import torch

from ganpatch import Generator, Ranking, rank
from ganpatch.errors import GanpatchError
from ganpatch.finding.methods import METHODS
from ganpatch.finding.task import Task
from ganpatch.finding.weights import RIDGE, scores, unexplained


def low_rank(units: int = 60) -> torch.Tensor:
    source = torch.Generator().manual_seed(2)
    clean = torch.randn(units, 6, generator=source).double() @ torch.randn(6, 40, generator=source).double()
    return clean + 0.1 * torch.randn(units, 40, generator=source)


def test_what_others_do_not_explain_is_that_of_a_regression() -> None:
    weights = low_rank(12)
    rows = weights / weights.norm(dim=1, keepdim=True)
    for unit, found in enumerate(unexplained(weights).tolist()):
        others = torch.cat([rows[:unit], rows[unit + 1 :]])
        gram = others @ others.T + RIDGE * torch.eye(11)
        best = torch.linalg.solve(gram, others @ rows[unit])
        left = (rows[unit] - best @ others).square().sum() + RIDGE * best.square().sum()
        assert found == pytest.approx(float(left), rel=1e-6)


def test_wrong_weights_come_first() -> None:
    incoming, outgoing = low_rank(), low_rank()
    incoming = incoming / incoming.norm(dim=1, keepdim=True)
    incoming[7] *= -3
    outgoing[[11, 40]] = torch.randn(2, 40, generator=torch.Generator().manual_seed(8)).double()
    found = scores(incoming, outgoing)
    assert set(found.topk(3).indices.tolist()) == {7, 11, 40}
    assert float(found[7]) == pytest.approx(math.log(3) / math.log(2))
    assert (found > 1).sum() == 3


def test_the_convolutions_around_a_layer_are_used(small_dcgan: Generator) -> None:
    found = METHODS["weights"].find(Task(generator=small_dcgan, ranking=ranked(small_dcgan, "main.5")), "main.5")
    state = small_dcgan.module.state_dict()
    wanted = scores(
        state["main.3.weight"].double().transpose(0, 1).flatten(1), state["main.6.weight"].double().flatten(1)
    )
    assert found.score.tolist() == pytest.approx(wanted.tolist(), rel=1e-5)


def test_a_layer_that_no_convolution_uses_is_refused(small_dcgan: Generator) -> None:
    with pytest.raises(GanpatchError) as caught:
        METHODS["weights"].find(Task(generator=small_dcgan, ranking=ranked(small_dcgan, "main.6")), "main.6")
    assert str(caught.value) == "weights: no convolutions compute and use the 3 units of layer 'main.6' directly"


def ranked(generator: Generator, layer: str) -> Ranking:
    return rank(generator, [layer], range(4), k=2)
