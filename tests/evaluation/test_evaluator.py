"""Evaluating and tuning: figures are those of plain references, a good patch is told from a useless one."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import Tensor

from ganpatch import Generator, Patch
from ganpatch.cli import cli
from ganpatch.errors import GanpatchError
from ganpatch.evaluation.evaluator import Choices, evaluate, random_edits
from ganpatch.evaluation.metrics import damage, distances
from ganpatch.evaluation.report import write_evaluation
from ganpatch.evaluation.tuner import Bound, tune
from ganpatch.finding.frechet_distance import frechet
from ganpatch.finding.image_features import load_features
from tests.support.shared import patch_for


def gaussians(shift: float, count: int = 200) -> Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(int(shift * 7) + 1)).double() + shift


def plain_frechet(some: Tensor, others: Tensor) -> float:
    a, b = torch.cov(some.T), torch.cov(others.T)
    root = torch.linalg.eigvals(a @ b).real.clamp(min=0).sqrt().sum()
    return float((some.mean(0) - others.mean(0)).square().sum() + a.trace() + b.trace() - 2 * root)


def test_distances_against_plain_formulas() -> None:
    some, others = gaussians(0), gaussians(1)
    found = distances(some, others)
    assert found.frechet == pytest.approx(plain_frechet(some, others), rel=1e-4)
    assert float(frechet(some, others)) == pytest.approx(found.frechet, rel=1e-4)
    near, far = distances(some, gaussians(0.01)), distances(some, gaussians(3))
    assert near.frechet < found.frechet < far.frechet
    assert near.kernel < found.kernel < far.kernel
    assert near.precision > 0.8 > 0.2 > far.precision
    assert near.recall > 0.8 > 0.2 > far.recall


def test_damage_counts_what_changes() -> None:
    before = torch.rand(3, 3, 16, 16)
    after = before.clone()
    after[1, :, 4:8] = 0.5
    after[2] = (after[2] + 0.25).clamp(0, 1)
    harm = damage(before, after)
    assert harm.of(torch.tensor([0, 1]))["unchanged"] == 0.5
    assert harm.ssim[0] == pytest.approx(1)
    assert harm.ssim[0] > harm.ssim[1]
    assert harm.psnr[1] == pytest.approx(-10 * float((before[1] - after[1]).square().mean().log10()), abs=1e-3)


CHOICES = Choices(seeds=range(100, 164), references=32, draws=2, features=load_features("plain"))


@pytest.fixture
def patch(small_dcgan: Generator) -> Patch:
    return patch_for(small_dcgan, {"layer": "main.5", "channels": 8, "units": [1, 3], "reason": "streaks"})


def test_an_evaluation_and_its_page(small_dcgan: Generator, patch: Patch, tmp_path: Path) -> None:
    found = evaluate(small_dcgan, patch, CHOICES)
    assert found.reference == "the 32 more usual of 64 images of its own: no real ones"
    assert len(found.random["all"]) == 2
    assert found.before["all"].frechet < found.after["all"].frechet, "half of a random net's units are no artifacts"
    assert not found.is_better
    assert found.verdict.startswith("Worse: the Fréchet distance (plain) of the images that most")
    write_evaluation(found, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert found.verdict in text
    assert "data:image/png;base64," in text
    assert "http" not in text.replace("http://www.w3.org", "")
    again = evaluate(small_dcgan, patch, CHOICES)
    assert again.evidence() == found.evidence(), "seeded"


def test_real_images_are_the_reference(small_dcgan: Generator, patch: Patch, tmp_path: Path) -> None:
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 255, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    choices = Choices(seeds=range(100, 148), real=tmp_path, draws=0, features=load_features("plain"))
    assert evaluate(small_dcgan, patch, choices).reference == f"12 real images of {tmp_path.name}"
    with pytest.raises(GanpatchError, match="is no folder with pictures"):
        evaluate(small_dcgan, patch, Choices(real=tmp_path / "none", features=load_features("plain")))


def test_seeds_that_the_patch_was_chosen_on_are_refused(small_dcgan: Generator, patch: Patch) -> None:
    chosen = patch.model_copy(update={"evidence": {"flagged": {"seeds": "0-120"}}})
    with pytest.raises(GanpatchError, match=r"seed 100 is one that the patch was chosen on \(0-120\)"):
        evaluate(small_dcgan, chosen, CHOICES)


def test_random_units_are_others_and_carry_levels_over(small_dcgan: Generator) -> None:
    gated = patch_for(
        small_dcgan, {"layer": "main.5", "channels": 8, "units": [1, 3], "value": [2.0, 3.0], "above": [2.0, 3.0]}
    )
    mean, deviation = torch.arange(8.0), torch.full((8,), 2.0)
    for draw in range(8):
        (edit,) = random_edits(gated.edits, {"main.5": (mean, deviation)}, draw)
        assert not {1, 3} & set(edit.units)
    assert edit.above is not None
    assert edit.above == edit.value == (edit.units[0] + 1.0, float(edit.units[1])), "as far from its unit's mean"


def test_tuning_drops_what_does_not_help_and_keeps_the_bound(small_dcgan: Generator, patch: Patch) -> None:
    bound = Bound(damage=0.05, seeds=range(96), references=48)
    tuned = tune(small_dcgan, patch, bound)
    assert tuned.chosen.damage <= 0.05
    assert tuned.chosen.gain > 0
    assert all(stop.gain <= tuned.chosen.gain for stop in tuned.curve if stop.damage <= 0.05)
    assert {unit for edit in tuned.patch.edits for unit in edit.units} <= {1, 3}
    assert {edit.reason for edit in tuned.patch.edits} == {"streaks"}
    assert tuned.patch.evidence["tuned"]["seeds"] == "0-95"


def test_nothing_to_gain(small_dcgan: Generator) -> None:
    module = copy.deepcopy(small_dcgan.module)
    with torch.no_grad():
        module.main[4].weight[1], module.main[4].bias[1] = 0, -1  # type: ignore[index, union-attr]
    dead = replace(small_dcgan, module=module)
    patch = patch_for(dead, {"layer": "main.5", "channels": 8, "units": [1]})
    with pytest.raises(GanpatchError, match="gains anything within a damage of 0.01: images get no more usual"):
        tune(dead, patch, Bound(seeds=range(32), references=24))


def test_the_commands(small_dcgan: Generator, patch: Patch, tmp_path: Path) -> None:
    torch.save(small_dcgan.module.state_dict(), tmp_path / "model.pt")
    path = tmp_path / "fix.yaml"
    patch.save(path)
    arguments = ["evaluate", str(tmp_path / "model.pt"), str(path), "--seeds", "100-147", "--references", "24"]
    done = CliRunner().invoke(cli, [*arguments, "--draws", "1", "--write", "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["measured_on_seeds"] == "100-147"
    evidence = Patch.load(path).evidence["evaluation"]
    assert evidence["all_images"]["count"] == 48
    assert len(evidence["most_images"]["random_units"]) == 1
    assert (tmp_path / "fix.html").exists()
    done = CliRunner().invoke(
        cli,
        ["tune", str(tmp_path / "model.pt"), str(path), "--seeds", "0-63", "--damage", "0.2"],
        catch_exceptions=False,
    )
    assert done.exit_code == 0
    assert Patch.load(tmp_path / "fix-tuned.yaml").provenance.parents == (patch.digest,)
    assert "<svg" in (tmp_path / "fix-tuned.html").read_text()
