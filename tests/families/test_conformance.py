"""Every family does what a generator must do, and draws what the family's own code drew (tools/conformance)."""

import json
import re
from pathlib import Path

import pytest
import torch

import ganpatch
from ganpatch.families import spandrel_models
from ganpatch.families.registry import families, recognised
from tests.support.conformance import (
    SAME,
    Fixture,
    check_graph,
    check_onnx,
    check_seeds,
    conform,
    photos,
    pixels_of,
    raw,
)
from tests.support.shared import ROOT, patch_for

FIXTURES = sorted((ROOT / "tests" / "families" / "checkpoints").glob("*.json"))
LARGE = {
    "fastgan", "hf-biggan", "rosinality", "lightweight-gan", "lightweight-gan-grey", "lucidrains-no-const",
    "biggan", "biggan-deep", "biggan-hier", "span", "span-no-norm", "taesd", "taesd-midblock",
    "esrgan-bsrgan", "esrgan-first", "esrgan-plus", "esrgan-unshuffle", "compact-grey", "r3gan",
}  # fmt: skip


# The page of each fixture in docs/families, and the column of its table of layers that names those of the family.
PAGES = {
    "gandissect": ("progressive-gan", 0), "gan-zoo-progressive": ("progressive-gan", 1),
    "biggan": ("biggan", 0), "biggan-hier": ("biggan", 0), "biggan-unshared": ("biggan", 0),
    "biggan-deep": ("biggan", 1), "hf-biggan": ("biggan", 2),
    "rosinality": ("stylegan2", 0), "lucidrains": ("stylegan2", 1), "lucidrains-no-const": ("stylegan2", 1),
    "fastgan": ("light-gans", 0), "lightweight-gan": ("light-gans", 1), "lightweight-gan-grey": ("light-gans", 1),
    "cyclegan": ("image-to-image", 0), "cyclegan-batch-norm": ("image-to-image", 0), "pix2pix": ("image-to-image", 1),
    "diffusers-kl": ("autoencoders", 0), "diffusers-tiny": ("autoencoders", 1),
    "taesd": ("autoencoders", 2), "taesd-midblock": ("autoencoders", 2),
    "esrgan": ("upscalers", 0), "compact": ("upscalers", 1), "span": ("upscalers", 2), "span-no-norm": ("upscalers", 2),
    "r3gan": ("r3gan", 0), "r3gan-conditional": ("r3gan", 0),
}  # fmt: skip


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos(tmp_path_factory.mktemp("inputs") / "photos")


def opened(fixture: Fixture, folder: Path, pictures: Path) -> ganpatch.Generator:
    torch.save(fixture.state(), folder / "model.pt")
    if fixture.config:
        (folder / "config.json").write_text(json.dumps(fixture.config))
    given = dict(fixture.options)
    if str(given.get("latent", "")).startswith("images"):
        given["inputs"] = pictures
    return ganpatch.load(folder / "model.pt", **given)


def named_layers(page: str, column: int) -> list[str]:
    """Read the layers that a page recommends to rank, the first one first."""
    text = (ROOT / "docs" / "families" / f"{page}.md").read_text().partition("## Layers")[2].partition("\n## ")[0]
    rows = [line[1:-1].split("|") for line in text.splitlines() if line.startswith("|")][2:]
    return [name for row in rows for name in re.findall(r"`([\w.]+)`", row[column] if column < len(row) else "")]


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_a_family_conforms(path: Path, tmp_path: Path, pictures: Path) -> None:
    fixture = Fixture.read(path)
    generator = opened(fixture, tmp_path, pictures)
    drawn = pixels_of(raw(generator, [0, 1]))
    largest = max(map(abs, fixture.pixels))
    assert drawn == pytest.approx(fixture.pixels, abs=10 * SAME * largest), "the real code drew something else"
    if path.stem in PAGES:
        names = [name for name, _ in generator.module.named_modules()]
        for layer in (layers := named_layers(*PAGES[path.stem])):
            like = re.sub(r"\d+", r"\\d+", re.escape(layer))
            assert any(re.fullmatch(like, name) for name in names), f"docs/families: no layer is called like {layer}"
        assert layers
    if path.stem in LARGE:
        check_seeds(generator)
    else:
        assert conform(generator, onnx=False)["patch"] == "equal"


def state_in(path: Path) -> dict[str, torch.Tensor]:
    """Return the state of a fixture without the prefix under which R3GAN's training code saves it."""
    return {name.removeprefix("Model."): tensor for name, tensor in Fixture.read(path).state().items()}


def test_every_family_has_its_fixture() -> None:
    """NVlabs' networks need the user's checkout: test_nvlabs.py has a stand-in; Udacity's DCGAN is nobody's library.

    What spandrel reads is its own code: test_upscalers.py.
    """
    states = [state_in(path) for path in FIXTURES]
    named = {family.NAME for state in states if (family := recognised(state)) is not None}
    assert {family.NAME for family in families()} - named == {
        "DCGAN", "DCGAN with a linear layer", "StyleGAN2-ADA or StyleGAN3 (NVlabs)", spandrel_models.NAME
    }  # fmt: skip


def test_no_tensors_belong_to_two_families() -> None:
    for path in FIXTURES:
        state = state_in(path)
        own = [family for family in families() if family.NAME != spandrel_models.NAME]
        assert len([family.NAME for family in own if family.detect(state)]) == 1, path.stem


def test_an_export_equals_the_hooks(tmp_path: Path, pictures: Path) -> None:
    generator = opened(
        Fixture.read(ROOT / "tests" / "families" / "checkpoints" / "gan-zoo-progressive.json"), tmp_path, pictures
    )
    patch = patch_for(generator, {"layer": "scaleLayers.0.1", "channels": 16, "units": [0, 3]})
    assert check_onnx(generator, patch, tmp_path).startswith("any batch")


@pytest.mark.parametrize("name", ["gan-zoo-dcgan", "gandissect", "diffusers-tiny"])
def test_an_export_is_the_same_generator(name: str, tmp_path: Path, pictures: Path) -> None:
    """tools/conformance/graphs.py does this for all families."""
    generator = opened(Fixture.read(ROOT / "tests" / "families" / "checkpoints" / f"{name}.json"), tmp_path, pictures)
    assert check_graph(generator, tmp_path, {})


def test_a_broken_generator_does_not_conform(tmp_path: Path, pictures: Path) -> None:
    """The suite can fail: noise that no seed controls, and the real code's pixels with one weight changed."""
    fixture = Fixture.read(ROOT / "tests" / "families" / "checkpoints" / "gan-zoo-dcgan.json")
    generator = opened(fixture, tmp_path, pictures)
    with torch.no_grad():
        generator.module.get_parameter("main.outlayer.weight")[0] += 0.05
    assert pixels_of(raw(generator, [0, 1])) != pytest.approx(fixture.pixels, abs=10 * SAME)

    class Noisy(torch.nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return torch.tanh(z.mean(1)[:, None, None, None] + torch.randn(len(z), 3, 8, 8))

    with pytest.raises(AssertionError, match="the image of a seed changes by"):
        check_seeds(ganpatch.load(Noisy(), latent="normal:4"))
