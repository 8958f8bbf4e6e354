"""The patches that ship: they fit, they fold, they do what their figures say, more than random units do."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import ganpatch
from ganpatch import Generator, Patch, bake
from ganpatch.families.churches.faults import FAULTS
from tests.support.shared import FACES, ROOT
from tools.patches import make_patches, truth

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


def test_the_faces_patch_beats_every_draw_of_random_units() -> None:
    measured = Patch.load(ROOT / "patches" / "faces.yaml").evidence.by(make_patches.MADE_BY)
    assert measured is not None
    assert measured.figures
    for figure in measured.figures.values():
        before, after, *random = make_patches.numbers(figure)
        assert len(random) == measured.baselines == 5
        assert after < min(random), figure
        assert after < 0.75 * before, figure


def test_the_churches_patch_takes_away_every_learned_fault() -> None:
    measured = Patch.load(ROOT / "patches" / "churches.yaml").evidence.by("tools/patches/truth.py")
    assert measured is not None
    visible = {name: figure for name, figure in measured.figures.items() if name.endswith("_visible")}
    assert set(visible) == {f"{name.replace(' ', '_')}_visible" for name in FAULTS}
    for figure in visible.values():
        before, after, *random = make_patches.numbers(figure)
        assert len(random) == measured.baselines == 20
        assert after <= 0.2 * before < 0.2 * before + min(random)
    outside = {name: figure for name, figure in measured.figures.items() if name.endswith("_outside")}
    assert all(after <= 1.02 * before for before, after, *_ in map(make_patches.numbers, outside.values()))


def test_the_truth_is_measured_again() -> None:
    """On fewer images: faults are visible before the patch, and not after it."""
    generator, patch = ganpatch.load("churches"), Patch.load(ROOT / "patches" / "churches.yaml")
    seeds = truth.chosen_seeds(generator, range(12_000, 12_060))[:24]
    before, after = (truth.compare_with_truth(generator, edits, seeds) for edits in ((), patch.edits))
    faults = [name for name in before if name != truth.NONE]
    assert len(faults) >= 2
    assert sum(before[name].visible for name in faults) > 0.5 * len(faults)
    assert sum(after[name].visible for name in faults) < 0.2 * len(faults)


@pytest.mark.parametrize("path", PATCHES, ids=lambda path: path.stem)
def test_its_evaluation_has_an_answer_and_twenty_baselines(path: Path) -> None:
    found = Patch.load(path).evidence.by("ganpatch evaluate")
    assert found is not None
    change, answer = found.figures["most_change"], found.answer
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
    """The tool that wrote the figures measures them again, on fewer images, in the same direction."""
    monkeypatch.setattr(make_patches, "MEASURED", range(10_000, 10_256))
    measure: Callable[..., float] = make_patches.black_bars
    generator, patch = ganpatch.load(FACES), Patch.load(ROOT / "patches" / "faces.yaml")
    assert measure(make_patches.drawn(generator, patch)) < measure(make_patches.drawn(generator, None))
