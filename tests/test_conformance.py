"""Every family does what a generator must do, and draws what the family's own code drew (tools/conformance)."""

import json
from pathlib import Path

import pytest
import torch
from conformance import SAME, Fixture, check_onnx, check_seeds, conform, pixels_of, raw
from conftest import ROOT, patch_for
from PIL import Image

import ganpatch
from ganpatch.models.weights import FAMILIES, recognised

FIXTURES = sorted((ROOT / "tests" / "families").glob("*.json"))
LARGE = {"fastgan", "hf-biggan", "rosinality", "lightweight-gan", "lightweight-gan-grey"}


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(8):
        source = torch.Generator().manual_seed(number)
        small = torch.randint(0, 255, (9, 9, 3), dtype=torch.uint8, generator=source).numpy()
        Image.fromarray(small).resize((80, 64), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return folder


def opened(fixture: Fixture, folder: Path, photos: Path) -> ganpatch.Generator:
    torch.save(fixture.state(), folder / "model.pt")
    if fixture.config:
        (folder / "config.json").write_text(json.dumps(fixture.config))
    given = dict(fixture.options)
    if str(given.get("latent", "")).startswith("images"):
        given["inputs"] = photos
    return ganpatch.load(folder / "model.pt", **given)


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_a_family_conforms(path: Path, tmp_path: Path, photos: Path) -> None:
    fixture = Fixture.read(path)
    generator = opened(fixture, tmp_path, photos)
    drawn = pixels_of(raw(generator, [0, 1]))
    largest = max(map(abs, fixture.pixels))
    assert drawn == pytest.approx(fixture.pixels, abs=10 * SAME * largest), "the real code drew something else"
    if path.stem in LARGE:
        check_seeds(generator)
    else:
        assert conform(generator, onnx=False)["patch"] == "equal"


def test_every_family_has_its_fixture() -> None:
    """NVlabs' networks need the user's checkout: test_nvlabs.py has a stand-in; Udacity's DCGAN is nobody's library."""
    states = [Fixture.read(path).state() for path in FIXTURES]
    named = {family.NAME for state in states if (family := recognised(state)) is not None}
    assert {family.NAME for family in FAMILIES} - named == {
        "DCGAN", "DCGAN with a linear layer", "StyleGAN2-ADA or StyleGAN3 (NVlabs)"
    }  # fmt: skip


def test_no_tensors_belong_to_two_families() -> None:
    for path in FIXTURES:
        state = Fixture.read(path).state()
        assert len([family.NAME for family in FAMILIES if family.detect(state)]) == 1, path.stem


@pytest.mark.parametrize("name", ["lucidrains", "biggan-hier"])
def test_exports_equal_the_hooks(name: str, tmp_path: Path, photos: Path) -> None:
    generator = opened(Fixture.read(ROOT / "tests" / "families" / f"{name}.json"), tmp_path, photos)
    layer = {"lucidrains": "GE.blocks.1.conv2", "biggan-hier": "blocks.0.0"}[name]
    channels = (
        generator.module.get_submodule(layer)
        .get_parameter("weight" if name == "lucidrains" else "conv2.weight")
        .shape[0]
    )
    patch = patch_for(generator, {"layer": layer, "channels": channels, "units": [0, 3]})
    assert check_onnx(generator, patch, tmp_path).startswith("any batch")


def test_a_broken_generator_does_not_conform(tmp_path: Path, photos: Path) -> None:
    """The suite can fail: noise that no seed controls, and the real code's pixels with one weight changed."""
    fixture = Fixture.read(ROOT / "tests" / "families" / "gan-zoo-dcgan.json")
    generator = opened(fixture, tmp_path, photos)
    with torch.no_grad():
        generator.module.get_parameter("main.outlayer.weight")[0] += 0.05
    assert pixels_of(raw(generator, [0, 1])) != pytest.approx(fixture.pixels, abs=10 * SAME)

    class Noisy(torch.nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return torch.tanh(z.mean(1)[:, None, None, None] + torch.randn(len(z), 3, 8, 8))

    with pytest.raises(AssertionError, match="the image of a seed changes by"):
        check_seeds(ganpatch.load(Noisy(), latent="normal:4"))
