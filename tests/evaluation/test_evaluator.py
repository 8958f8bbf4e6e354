"""Evaluating and tuning: figures are those of plain references, a good patch is distinguished from a useless one."""

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
from ganpatch.evaluation.measuring import most_count
from ganpatch.evaluation.metrics import damage, distances, structural_similarity
from ganpatch.evaluation.report import measure_rows, write_evaluation
from ganpatch.evaluation.tuner import Bound, _Judge, tune
from ganpatch.families.churches.targets import draws_scenes
from ganpatch.finding.frechet_distance import frechet
from ganpatch.finding.image_features import load_features
from ganpatch.forward.activations import unseen
from ganpatch.generator.layers import hooked
from ganpatch.patch.evidence import Record
from ganpatch.torchvision_import import made_importable
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


def test_similarity_is_that_of_the_plain_formula() -> None:
    made_importable()
    from torchmetrics.functional.image import structural_similarity_index_measure as with_borders

    before = torch.rand(2, 3, 24, 29, generator=torch.Generator().manual_seed(3))
    after = (before * 0.8 + 0.1).clamp(0, 1)
    after[1] = after[1].flip(2)
    _, full = with_borders(after, before, data_range=1.0, return_full_image=True)
    inside = full[..., 5:-5, 5:-5].flatten(1).mean(1)  # where the whole window is in the image
    assert torch.allclose(structural_similarity(before, after), inside, atol=1e-5)
    small = torch.rand(1, 3, 4, 8)
    assert structural_similarity(small, small) == pytest.approx(1)


def test_a_fifth_is_scored_and_at_most_a_hundred() -> None:
    assert [most_count(images) for images in (1, 50, 499, 500, 10_000)] == [1, 10, 100, 100, 100]


CHOICES = Choices(seeds=range(100, 160), references=64, baselines=2, features=load_features("plain"))


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
    rows = measure_rows(found)
    assert rows[0] == ["measure", "most, before", "most, after", "all, before", "all, after"]
    assert sum(max(len(row[column]) for row in rows) + 1 for column in range(5)) <= 80, "it fits a terminal"
    write_evaluation(found, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert found.verdict.sentence in text
    assert text.index("data:image/png;base64,") < text.index("<svg") < text.index("<table"), "pictures before numbers"
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


def test_the_right_images_are_known_of_what_draws_them_whatever_it_is_called(
    churches: Generator, small_dcgan: Generator
) -> None:
    other = copy.deepcopy(churches.module)
    with torch.no_grad():
        next(other.parameters()).add_(1e-3)
    assert draws_scenes(replace(churches, module=other, name="mine"))
    assert not draws_scenes(small_dcgan)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.copy_(parameter.flatten()[torch.randperm(parameter.numel())].view(parameter.shape))
    assert not draws_scenes(replace(churches, module=other)), "its weights are shuffled"


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


def test_tuning_tries_zero_both_means_and_a_level(small_dcgan: Generator, patch: Patch) -> None:
    seeds = range(96)
    judge = _Judge(small_dcgan, patch, Bound(seeds=seeds, references=24), unseen)
    watched: list[Tensor] = []
    with hooked(small_dcgan.module, {"main.5": lambda y, _call: watched.append(y.clone())}):
        small_dcgan.sample(seeds)
    peaks = watched[0].amax((2, 3))[:, [1, 3]]
    least = ((peaks - peaks.mean(0)) / peaks.std(0).clamp(min=1e-6)).sum(1).argsort()  # unit 1 is always 0
    assert sorted(judge._fine) == sorted(least[:24].tolist()), "damage is measured on the images with least activity"
    options = judge.options("main.5")
    assert [option.kind for option in options] == 2 * ["off", "mean", "fine mean", "held"]
    for option in options:
        own = watched[0][:, option.unit]
        level = float(own.quantile(0.99))
        values = {"off": 0, "mean": own.mean(), "fine mean": own[least[:48]].mean(), "held": level}
        assert option.value == pytest.approx(float(values[option.kind]), rel=0.02)
        assert option.above == (option.value if option.kind == "held" else None)


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
    arguments = ["evaluate", str(tmp_path / "model.pt"), str(path), "--seeds", "100-159", "--references", "48"]
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
    page = (tmp_path / "fix-tuned.html").read_text()
    assert "The chosen patch edits " in page
    assert "<svg" in page


def test_pictures_smaller_than_the_images_are_refused(small_dcgan: Generator, patch: Patch, tmp_path: Path) -> None:
    as_photographs(small_dcgan, range(5000, 5003), tmp_path / "real")
    Image.new("RGB", (15, 40)).save(tmp_path / "real" / "5001.png")
    with pytest.raises(GanpatchError) as found:
        evaluate(small_dcgan, patch, replace(CHOICES, real=tmp_path / "real"))
    assert str(found.value) == (
        f"'{tmp_path}/real/5001.png' has 15x40 pixels, the generator's images have 16x16; "
        "give pictures that are at least as large"
    )


def test_a_patch_that_names_no_seeds_of_its_choice_is_reported(small_dcgan: Generator, patch: Patch) -> None:
    found = evaluate(small_dcgan, patch, CHOICES)
    assert found.words == (
        f"{found.verdict.sentence} The patch does not say on which seeds its units were chosen; "
        "if they are among these, the result is biased."
    )
    named = patch.with_record(Record(made_by="review", chosen_on="0-9"))
    assert replace(found, patch=named).words == found.verdict.sentence
