"""Evaluating with the right output of each picture: the error is to it, a repair towards it is better."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import ganpatch
from ganpatch import Choices, GanpatchError, Generator
from ganpatch.evaluation.report import evaluation_rows
from ganpatch.finding.image_features import load_features
from ganpatch.generator.input_files import Images
from tests.support.shared import patch_for

NUMBER = 52


class Doubling(nn.Module):
    """Twice the size; unit 9 of 24 adds a spot to half of the pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = nn.Conv2d(3, 24, 1)
        self.out = nn.Conv2d(24, 3, 1)
        with torch.no_grad():
            for layer in (self.seen, self.out):
                layer.weight.zero_()
                assert layer.bias is not None
                layer.bias.zero_()
            self.seen.weight[:3, :, 0, 0] = self.out.weight[:, :3, 0, 0] = torch.eye(3)
            self.seen.weight[3:, :, 0, 0] = 0.01 * torch.randn(21, 3, generator=torch.Generator().manual_seed(0))
            self.seen.weight[9, :, 0, 0] = 0
            self.seen.weight[9, 0, 0, 0] = 1
            self.out.weight[:, 9, 0, 0] = -0.3

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.repeat_interleave(torch.repeat_interleave(self.seen(x), 2, 2), 2, 3))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    small, sharp = tmp_path_factory.mktemp("small"), tmp_path_factory.mktemp("sharp")
    for number in range(NUMBER):
        source = np.random.default_rng(number)
        pixels = source.integers(0, 255, (8, 10, 3), dtype=np.uint8) // (1 + number % 2)
        Image.fromarray(pixels).save(small / f"{number:02}.png")
        Image.fromarray(pixels.repeat(2, 0).repeat(2, 1)).save(sharp / f"{number:02}.webp", lossless=True)
    return small, sharp


def loaded(small: Path) -> Generator:
    return ganpatch.load(Doubling(), latent="images:3,8,10", inputs=small, range=(0.0, 1.0))


def refusal(generator: Generator, patch: ganpatch.Patch, **choices: Any) -> str:
    with pytest.raises(GanpatchError) as fault:
        ganpatch.evaluate(generator, patch, Choices(features=load_features(), baselines=0, **choices))
    return str(fault.value)


def test_a_repair_comes_nearer_to_its_targets(folders: tuple[Path, Path]) -> None:
    small, sharp = folders
    generator = loaded(small)
    patch = patch_for(generator, {"layer": "seen", "channels": 24, "units": [9]})
    found = ganpatch.evaluate(generator, patch, Choices(features=load_features(), targets=sharp, baselines=20))
    assert len(found.choices.seeds) == NUMBER, "each picture counts once"
    assert found.found.score == "mean error"
    assert found.verdict.answer == "better", found.words
    before, after = found.likeness["all"]
    drawn = generator.sample(range(NUMBER))
    right = torch.stack([torch.from_numpy(np.asarray(Image.open(path)).copy()) for path in sorted(sharp.iterdir())])
    error = (drawn - right.permute(0, 3, 1, 2) / 255).square().mean((1, 2, 3))
    assert before["psnr"] == pytest.approx(float((-10 * error.log10()).mean()), rel=1e-3)
    assert before["psnr"] < 30 < after["psnr"]
    assert before["ssim"] < after["ssim"] == pytest.approx(1, abs=0.01)
    assert evaluation_rows(found)[0][-2:] == ["SSIM to targets", "PSNR to targets"]
    assert found.record().figures["all_psnr"].before == before["psnr"]


def test_targets_that_do_not_fit_are_named(folders: tuple[Path, Path], tmp_path: Path) -> None:
    generator = loaded(folders[0])
    patch = patch_for(generator, {"layer": "seen", "channels": 24, "units": [9]})
    few = tmp_path / "few"
    few.mkdir()
    Image.new("RGB", (20, 16)).save(few / "00.png")
    assert refusal(generator, patch, targets=few) == (
        f"--targets {few}: it has no picture for 01.png, 02.png, 03.png (+48 more)"
    )
    assert isinstance(generator.latent, Images)
    cropped = replace(generator, latent=replace(generator.latent, cropped=True))
    large = tmp_path / "large"
    large.mkdir()
    for number in range(NUMBER):
        Image.new("RGB", (20, 16 + (number == 3))).save(large / f"{number:02}.png")
    assert refusal(cropped, patch, targets=large) == (
        f"'{large / '03.png'}' is 17x20; the target of '03.png' is 16x20, 2 times its size"
    )


def test_too_few_pictures_are_said_to_be(tmp_path: Path) -> None:
    for number in range(3):
        Image.new("RGB", (10, 8), (number * 50, 0, 0)).save(tmp_path / f"{number}.png")
    generator = loaded(tmp_path)
    patch = patch_for(generator, {"layer": "seen", "channels": 24, "units": [9]})
    assert refusal(generator, patch) == (
        "3 different inputs are too few to evaluate a patch; give at least 50, as --inputs"
    )
