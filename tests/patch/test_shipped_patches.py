"""The patches that ship: they fit, they fold, they do what their figures say, more than random units do."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from PIL import Image

import ganpatch
from ganpatch import Generator, Patch, bake
from tests.support.shared import FACES, ROOT

PATCHES = sorted((ROOT / "patches").glob("*.yaml"))
MODELS = {"churches": "churches", "faces": str(FACES)}


def generator_of(path: Path) -> Generator:
    return ganpatch.load(MODELS[path.stem])


def test_there_is_one_for_each_real_generator() -> None:
    assert {path.stem for path in PATCHES} == set(MODELS)


@pytest.mark.parametrize("path", PATCHES, ids=lambda path: path.stem)
def test_it_fits_its_generator_and_folds_into_its_weights(path: Path, faces: Path) -> None:
    generator, patch = generator_of(path), Patch.load(path)
    assert patch.model.fingerprint.weights == generator.fingerprint.weights
    assert all(edit.reason for edit in patch.edits), "each unit with its reason"
    baked = bake(generator, patch, mode="fold")
    assert baked.proof.holds
    assert baked.proof.effect > 0.1 * baked.proof.largest
    before = generator.sample(range(4))
    with ganpatch.applied(generator.module, patch):
        assert not generator.sample(range(4)).equal(before)


@pytest.mark.parametrize("path", PATCHES, ids=lambda path: path.stem)
def test_its_figures_beat_every_draw_of_random_units(path: Path) -> None:
    evidence = yaml.safe_load(path.read_text())["evidence"]
    measured = [entry for name, entry in evidence.items() if isinstance(entry, dict) and name != "evaluation"]
    assert measured
    for entry in measured:
        assert len(entry["random_units"]) >= 5
        assert entry["after"] < min(entry["random_units"]), entry
        assert entry["after"] < 0.75 * entry["before"], entry


@pytest.mark.parametrize("path", PATCHES, ids=lambda path: path.stem)
def test_its_evaluation_has_an_answer_and_twenty_baselines(path: Path) -> None:
    found = yaml.safe_load(path.read_text())["evidence"]["evaluation"]
    assert len(found["baselines"]) == 20
    assert found["verdict"].lower().startswith(found["answer"])
    assert found["p_value"] == pytest.approx(
        (1 + sum(one <= relative(found["scores"]["most"]) for one in found["baselines"])) / 21, abs=1e-3
    )
    assert found["answer"] != "better" or "most typical" not in found["reference"]
    assert "FID" not in found["score"], "these are not Inception's features"


def relative(score: dict[str, float]) -> float:
    return score["after"] / score["before"] - 1


@pytest.mark.parametrize("path", PATCHES, ids=lambda path: path.stem)
def test_its_picture_is_there(path: Path) -> None:
    with Image.open(path.with_suffix(".png")) as picture:
        assert min(picture.size) >= 256


def test_figures_are_measured_again(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tool that wrote the figures gives them again, on fewer images, in the same direction."""
    from tools.patches import make_patches

    monkeypatch.setattr(make_patches, "MEASURED", range(10_000, 10_256))
    measure: Callable[..., float] = make_patches.black_bars
    generator, patch = ganpatch.load(FACES), Patch.load(ROOT / "patches" / "faces.yaml")
    assert measure(make_patches.drawn(generator, patch)) < measure(make_patches.drawn(generator, None))
