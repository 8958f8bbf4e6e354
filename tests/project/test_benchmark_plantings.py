"""Plantings in weights change the units that they name, and nothing else."""

import pytest
import torch

from ganpatch import Generator
from ganpatch.generator.layers import hooked
from tools.benchmarks.weight_planting import FACTOR, WEIGHT_KINDS, WeightPlanting, plant_weights

LAYER = "main.5"


def activation(generator: Generator, layer: str) -> torch.Tensor:
    kept: list[torch.Tensor] = []
    with hooked(generator.module, {layer: lambda y, _call: kept.append(y.clone())}):
        generator.sample(range(6))
    return kept[0]


@pytest.mark.parametrize("kind", WEIGHT_KINDS)
def test_only_the_planted_units_change(small_dcgan: Generator, kind: str) -> None:
    planted = plant_weights(small_dcgan, LAYER, WeightPlanting(kind=kind, count=2), avoid=[0, 1])
    units = list(planted.units)
    assert len(set(units)) == 2
    assert min(units) > 1
    before, after = activation(small_dcgan, LAYER), activation(planted.generator, LAYER)
    others = [unit for unit in range(8) if unit not in units]
    assert torch.equal(before[:, others], after[:, others])
    assert torch.equal(before[:, units], after[:, units]) == (kind == "wrong direction")
    assert not torch.equal(small_dcgan.sample(range(6)), planted.generator.sample(range(6)))


def test_weights_are_those_of_the_unit(small_dcgan: Generator) -> None:
    was = small_dcgan.module.state_dict()
    inverted = plant_weights(small_dcgan, LAYER, WeightPlanting(kind="inverted filter", count=1))
    (unit,) = inverted.units
    now = inverted.generator.module.state_dict()
    assert torch.equal(now["main.3.weight"][:, unit], FACTOR * was["main.3.weight"][:, unit])
    turned = plant_weights(small_dcgan, LAYER, WeightPlanting(kind="wrong direction", count=1))
    (unit,) = turned.units
    weights = [state["main.6.weight"][unit] for state in (was, turned.generator.module.state_dict())]
    assert float(weights[0].norm()) == pytest.approx(float(weights[1].norm()), rel=1e-5)
    assert abs(float(torch.cosine_similarity(weights[0].flatten(), weights[1].flatten(), dim=0))) < 0.5
