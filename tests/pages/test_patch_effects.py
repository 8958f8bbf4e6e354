"""What a patch does to images, measured before it is applied: against brute force, and with nothing but a picture written."""

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from ganpatch import Edit, GanpatchError, Generator, Patch, applied, measure_effect, rank
from ganpatch.cli import cli
from ganpatch.pages.patch_effects import PAIRS, VISIBLE
from tests.support import own_files as own
from tests.support.shared import patch_for

SEEDS = [*range(37), 90]  # more than a batch


@pytest.fixture
def patch(small_dcgan: Generator) -> Patch:
    """A patch that acts on the few images in which a unit is most active."""
    level = float(rank(small_dcgan, [own.LAYER], SEEDS, k=12)[own.LAYER].top_scores[3, 9])
    return patch_for(small_dcgan, {"layer": own.LAYER, "channels": 8, "units": [3], "above": level})


def test_numbers_are_those_of_brute_force(small_dcgan: Generator, patch: Patch) -> None:
    before = small_dcgan.sample(SEEDS)
    with applied(small_dcgan.module, patch):
        after = small_dcgan.sample(SEEDS)
    gap = (after - before).abs()
    effect = measure_effect(small_dcgan, patch, SEEDS)
    assert torch.allclose(effect.strength, gap.mean((1, 2, 3)), atol=1e-6)
    assert 0 < effect.touched == int((gap.amax((1, 2, 3)) >= VISIBLE).sum()) < len(SEEDS)
    assert torch.allclose(effect.where, gap.mean((0, 1)), atol=1e-6)
    order = gap.mean((1, 2, 3)).argsort(descending=True, stable=True)[:PAIRS].tolist()
    assert effect.shown == tuple(SEEDS[row] for row in order)
    wanted = (after[order] * 255).round().permute(0, 2, 3, 1).numpy()
    assert np.abs(effect.pairs[1].astype(float) - wanted).max() <= 1
    places = gap.mean((0, 1)).flatten().sort(descending=True).values.cumsum(0)
    assert effect.half_area == pytest.approx(int((places < places[-1] / 2).sum()) / len(places))
    assert effect.rows()[0] == ("images that change visibly", f"{effect.touched} of {len(SEEDS)}")


def test_the_picture_shows_the_strongest_first(small_dcgan: Generator, patch: Patch) -> None:
    picture = np.asarray(measure_effect(small_dcgan, patch, SEEDS).picture()).astype(int)
    bars = (np.abs(picture[46:236] - (0, 114, 178)).sum(2) == 0).sum(0)
    assert bars[14] > bars[200]
    assert bars[14] >= 188, "the highest bar fills the band"


def test_a_patch_that_changes_nothing_and_one_that_breaks_images(small_dcgan: Generator, patch: Patch) -> None:
    def changed(**fields: object) -> Patch:
        (edit,) = patch.edits
        return patch.model_copy(update={"edits": (Edit(**{**edit.model_dump(exclude={"mask"}), **fields}),)})

    nothing = measure_effect(small_dcgan, changed(above=(1e6,)), range(4))
    assert (nothing.touched, float(nothing.strength.max()), nothing.half_area) == (0, 0.0, 0.0)
    nothing.picture()
    harm = measure_effect(small_dcgan, changed(above=None, value=(3e38,)), range(4))
    assert harm.rows()[-1] == ("images with values that are not finite", "4") or harm.touched == 4
    harm.picture()


def test_the_command_writes_the_picture_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    generator = own.generator()
    torch.save(generator.module.state_dict(), "m.pt")
    patch_for(generator, {"layer": own.LAYER, "channels": 8, "units": [1]}).save("fix.yaml")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    done = CliRunner().invoke(cli, ["patch", "show", "fix.yaml", "--model", "m.pt", "--n", "6"])
    assert done.exit_code == 0, done.stderr
    assert "images that change visibly" in done.stdout
    assert done.stderr.endswith("open fix-effect.png\n")
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.name != "fix-effect.png"} == before
    with Image.open("fix-effect.png") as picture:
        assert picture.format == "PNG"


def test_a_patch_for_another_model_is_not_drawn(small_progressive: Generator, patch: Patch) -> None:
    with pytest.raises(GanpatchError, match="is for another model"):
        measure_effect(small_progressive, patch, range(2))
