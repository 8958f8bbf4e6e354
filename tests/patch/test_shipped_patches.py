"""The patches that ship: they fit, they fold, they do what their figures say, more than random units do."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import ganpatch
from ganpatch import Generator, Patch, bake
from tests.support.shared import FACES, ROOT
from tools.patches import make_patches

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
    measured = Patch.load(path).evidence.by(make_patches.MADE_BY)
    assert measured is not None
    assert measured.figures
    for figure in measured.figures.values():
        before, after, *random = make_patches.numbers(figure)
        assert len(random) == measured.baselines == 5
        assert after < min(random), figure
        assert after < 0.75 * before, figure


@pytest.mark.parametrize("path", PATCHES, ids=lambda path: path.stem)
def test_its_evaluation_has_an_answer_and_twenty_baselines(path: Path) -> None:
    found = Patch.load(path).evidence.by("ganpatch evaluate")
    assert found is not None
    change, answer = found.figures["most_change"], found.settings["answer"]
    assert len(change.random) == found.baselines == 20
    assert change.value is not None
    assert found.note.lower().startswith(answer)
    assert found.figures["p_value"].value == pytest.approx(
        (1 + sum(one <= change.value for one in change.random)) / 21, abs=1e-3
    )
    before, after = make_patches.numbers(found.figures["most_score"])
    assert change.value == pytest.approx(after / before - 1, abs=1e-3)
    assert answer != "better" or "most typical" not in found.reference
    assert "FID" not in found.settings["score"], "these are not Inception's features"


@pytest.mark.parametrize("path", PATCHES, ids=lambda path: path.stem)
def test_its_picture_is_there(path: Path) -> None:
    with Image.open(path.with_suffix(".png")) as picture:
        assert min(picture.size) >= 256


def test_figures_are_measured_again(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tool that wrote the figures gives them again, on fewer images, in the same direction."""
    monkeypatch.setattr(make_patches, "MEASURED", range(10_000, 10_256))
    measure: Callable[..., float] = make_patches.black_bars
    generator, patch = ganpatch.load(FACES), Patch.load(ROOT / "patches" / "faces.yaml")
    assert measure(make_patches.drawn(generator, patch)) < measure(make_patches.drawn(generator, None))
