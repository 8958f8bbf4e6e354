"""Evaluating and tuning: figures are those of plain references, a good patch is told from a useless one."""

import copy
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import Tensor

from ganpatch import Generator, Patch
from ganpatch.cli import cli
from ganpatch.errors import GanpatchError
from ganpatch.evaluation.evaluator import Choices, evaluate
from ganpatch.evaluation.metrics import damage, distances
from ganpatch.evaluation.report import write_evaluation
from ganpatch.evaluation.tuner import Bound, tune
from ganpatch.families.churches.targets import is_bundled
from ganpatch.finding.frechet_distance import frechet
from ganpatch.finding.image_features import load_features
from ganpatch.patch.evidence import Record
from tests.support.shared import patch_for
from tools.benchmarks.planting import Planting, plant


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


CHOICES = Choices(seeds=range(100, 160), references=32, baselines=2, features=load_features("plain"))


@pytest.fixture
def patch(small_dcgan: Generator) -> Patch:
    return patch_for(small_dcgan, {"layer": "main.5", "channels": 8, "units": [1, 3], "reason": "streaks"})


def test_an_evaluation_and_its_page(small_dcgan: Generator, patch: Patch, tmp_path: Path) -> None:
    found = evaluate(small_dcgan, patch, CHOICES)
    assert found.reference.description == "the 32 most typical of 64 generated images (no real images given)"
    assert len(found.baselines) == 2
    assert found.found.all.before < found.found.all.after, "half of a random net's units are no artifacts"
    assert found.verdict.answer == "worse"
    assert found.verdict.sentence.startswith("Worse: the Fréchet distance (plain) of the images that most")
    write_evaluation(found, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert found.verdict.sentence in text
    assert "data:image/png;base64," in text
    assert "http" not in text.replace("http://www.w3.org", "")
    again = evaluate(small_dcgan, patch, CHOICES)
    assert again.record() == found.record(), "seeded"


def as_photographs(generator: Generator, seeds: range, folder: Path) -> None:
    folder.mkdir()
    for seed, image in zip(seeds, generator.sample(seeds), strict=True):
        Image.fromarray((image.permute(1, 2, 0) * 255).round().byte().numpy()).save(folder / f"{seed}.png")


def test_real_images_show_that_a_planted_fault_is_gone(small_dcgan: Generator, tmp_path: Path) -> None:
    as_photographs(small_dcgan, range(5000, 5300), tmp_path / "real")
    planted = plant(small_dcgan, "main.2", Planting(kind="blotch", count=2, rate=0.3, strength=1.3))
    choices = replace(CHOICES, seeds=range(100, 340), baselines=20, real=tmp_path / "real", references=300)
    channels = {"layer": planted.layer, "channels": 12}
    level = [float(each) for each in planted.generator.module.defects.above]
    fields = {**channels, "units": sorted(planted.units), "value": sorted_by(planted.units, level)}
    repair = patch_for(planted.generator, {**fields, "above": fields["value"]})
    found = evaluate(planted.generator, repair, choices)
    assert found.reference.description == "300 real images of real"
    assert found.verdict.answer == "better", found.verdict.sentence
    others = [unit for unit in range(12) if unit not in planted.units]
    harm = evaluate(planted.generator, patch_for(planted.generator, {**channels, "units": others[:5]}), choices)
    assert harm.verdict.answer == "worse", harm.verdict.sentence
    idle = patch_for(planted.generator, {**channels, "units": others[:2], "above": 1e6})
    assert evaluate(planted.generator, idle, choices).verdict.sentence == (
        "No change: the patch never acts on these images."
    )


def sorted_by(units: Sequence[int], values: Sequence[float]) -> list[float]:
    return [value for _, value in sorted(zip(units, values, strict=True))]


def test_a_folder_without_pictures_is_named(small_dcgan: Generator, patch: Patch, tmp_path: Path) -> None:
    with pytest.raises(GanpatchError, match="is not a folder with pictures"):
        evaluate(small_dcgan, patch, replace(CHOICES, real=tmp_path / "none"))


def test_seeds_that_the_patch_was_chosen_on_are_refused(small_dcgan: Generator, patch: Patch) -> None:
    chosen = patch.with_record(Record(made_by="review", chosen_on=range(121)))
    with pytest.raises(GanpatchError) as found:
        evaluate(small_dcgan, chosen, CHOICES)
    assert str(found.value) == (
        "seed 100 is one that the patch was chosen on (0-120): results on them would be biased; choose other --seeds"
    )


def test_tuning_refuses_seeds_that_the_patch_was_chosen_on(small_dcgan: Generator, patch: Patch) -> None:
    chosen = patch.with_record(Record(made_by="review", chosen_on="50-70"))
    with pytest.raises(GanpatchError, match=r"^seed 50 is one that the patch was chosen on \(50-70\): "):
        tune(small_dcgan, chosen, Bound(seeds=range(96)))


def test_too_few_seeds_are_refused(small_dcgan: Generator, patch: Patch) -> None:
    with pytest.raises(GanpatchError, match="^49 seeds are too few to evaluate a patch; give at least 50, as --seeds$"):
        evaluate(small_dcgan, patch, replace(CHOICES, seeds=range(49)))


def test_the_bundled_generator_is_known_by_its_weights(churches: Generator) -> None:
    assert is_bundled(replace(churches, name="mine"))
    other = copy.deepcopy(churches.module)
    with torch.no_grad():
        next(other.parameters()).add_(1e-3)
    assert not is_bundled(replace(churches, module=other))


def test_tuning_drops_what_does_not_help_and_keeps_the_bound(small_dcgan: Generator, patch: Patch) -> None:
    bound = Bound(damage=0.05, seeds=range(96), references=48)
    tuned = tune(small_dcgan, patch, bound)
    assert tuned.chosen.damage <= 0.05
    assert tuned.chosen.gain > 0
    assert all(stop.gain <= tuned.chosen.gain for stop in tuned.curve if stop.damage <= 0.05)
    assert {unit for edit in tuned.patch.edits for unit in edit.units} <= {1, 3}
    assert {edit.reason for edit in tuned.patch.edits} == {"streaks"}
    record = tuned.patch.evidence.by("ganpatch tune")
    assert record is not None
    assert record.chosen_on == "0-95"


def test_nothing_to_gain(small_dcgan: Generator) -> None:
    module = copy.deepcopy(small_dcgan.module)
    with torch.no_grad():
        module.main[4].weight[1], module.main[4].bias[1] = 0, -1  # type: ignore[index, union-attr]
    dead = replace(small_dcgan, module=module)
    patch = patch_for(dead, {"layer": "main.5", "channels": 8, "units": [1]})
    with pytest.raises(GanpatchError, match="gains anything within a damage of 0.01: images become no more typical"):
        tune(dead, patch, Bound(seeds=range(32), references=24))


def test_the_commands(small_dcgan: Generator, patch: Patch, tmp_path: Path) -> None:
    torch.save(small_dcgan.module.state_dict(), tmp_path / "model.pt")
    path = tmp_path / "fix.yaml"
    patch.save(path)
    arguments = ["evaluate", str(tmp_path / "model.pt"), str(path), "--seeds", "100-159", "--references", "24"]
    done = CliRunner().invoke(cli, [*arguments, "--baselines", "1", "--write", "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["measured_on"] == "100-159"
    record = Patch.load(path).evidence.by("ganpatch evaluate")
    assert record is not None
    assert record.plain() == json.loads(done.stdout)
    assert len(record.figures["most_change"].random) == record.baselines == 1
    assert (tmp_path / "fix.html").exists()
    done = CliRunner().invoke(
        cli,
        ["tune", str(tmp_path / "model.pt"), str(path), "--seeds", "0-63", "--damage", "0.2"],
        catch_exceptions=False,
    )
    assert done.exit_code == 0
    assert Patch.load(tmp_path / "fix-tuned.yaml").provenance.parents == (patch.digest,)
    assert "<svg" in (tmp_path / "fix-tuned.html").read_text()
