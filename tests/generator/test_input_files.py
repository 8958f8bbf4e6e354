"""Inputs from files: folders of images, files of latents."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import ganpatch
from ganpatch import GanpatchError
from ganpatch.generator.input_files import Images, given_inputs, read_latent
from ganpatch.generator.latents import Latent
from tests.support.nets import unet


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, colour in enumerate(["red", "lime", "blue"]):
        Image.new("RGB", (20 + number, 9), colour).save(folder / f"{number}.png")
    (folder / "notes.txt").write_text("no image")
    return folder


def refusal(*arguments: object) -> str:
    with pytest.raises(GanpatchError) as fault:
        given_inputs(*arguments)  # type: ignore[arg-type]
    return str(fault.value)


def test_images_by_seed(photos: Path) -> None:
    found = given_inputs(photos, read_latent("images:3,8,8"), (-1.0, 1.0))
    assert found.count == 3
    rows = [found.row(torch.Generator().manual_seed(seed)) for seed in range(4)]
    assert rows[0].shape == (3, 8, 8)
    assert rows[0].mean((1, 2)).tolist() == [1, -1, -1]
    assert rows[2].mean((1, 2)).tolist() == [-1, -1, 1]
    assert torch.equal(rows[3], rows[0])
    grey = given_inputs(photos, read_latent("images:1,4,6"), (0.0, 1.0))
    assert grey.row(torch.Generator().manual_seed(1)).shape == (1, 4, 6)


def test_a_model_of_images(photos: Path) -> None:
    module, _ = unet()
    generator = ganpatch.load(module, latent="images:3,8,8", inputs=photos)
    assert str(generator.latent) == "images:3,8,8"
    assert generator.first_seeds(1000) == range(3)
    assert generator.sample(range(3)).shape == (3, 3, 8, 8)
    with pytest.raises(GanpatchError) as fault:
        ganpatch.load(module, latent="images:3,8,8")
    assert str(fault.value) == "UNet turns images into images; name a folder of them: --inputs DIR"


def test_what_is_wrong_with_a_folder_is_named(photos: Path, tmp_path: Path) -> None:
    assert (
        refusal(photos, None, (-1, 1)) == f"--inputs {photos}: how large are the images? say --latent images:3,256,256"
    )
    latent = Latent(kind="normal", shape=(8,))
    assert refusal(photos, latent, (-1, 1)) == f"--inputs {photos}: the model takes normal:8, not images"
    (tmp_path / "empty").mkdir()
    assert "holds no images (.png, .jpg" in refusal(tmp_path / "empty", latent, (-1, 1))
    assert refusal(tmp_path / "none", latent, (-1, 1)) == f"--inputs {tmp_path / 'none'}: no such folder or file"
    broken = photos / "1.png"
    broken.write_bytes(broken.read_bytes()[:40])
    found = given_inputs(photos, Images(shape=(3, 8, 8)), (-1, 1))
    with pytest.raises(GanpatchError, match=f"'{broken}' is not a readable image: "):
        found.row(torch.Generator().manual_seed(1))
    with pytest.raises(GanpatchError, match="images have 1 or 3 channels, not 4"):
        read_latent("images:4,8,8")


def test_latents_from_a_file(tmp_path: Path) -> None:
    rows = torch.randn(5, 6)
    save_file({"latents": rows}, tmp_path / "z.safetensors")
    np.save(tmp_path / "z.npy", rows.numpy())
    known = Latent(kind="normal", shape=(6,))
    for name in ("z.safetensors", "z.npy"):
        found = given_inputs(tmp_path / name, known, (-1, 1))
        assert (found.count, found.shape, str(found)) == (5, (6,), "rows:6")
        assert torch.equal(found.row(torch.Generator().manual_seed(6)), rows[1])
    assert refusal(tmp_path / "z.npy", Latent(kind="normal", shape=(7,)), (-1, 1)) == (
        f"'{tmp_path / 'z.npy'}' has rows [6], and the model takes normal:7"
    )
    save_file({"a": rows, "b": rows.clone()}, tmp_path / "two.safetensors")
    assert "holds 2 tensors (a, b), not one [N, ...]" in refusal(tmp_path / "two.safetensors", known, (-1, 1))
    (tmp_path / "no.npy").write_bytes(b"nothing")
    assert "is not a readable .safetensors or .npy file of latents" in refusal(tmp_path / "no.npy", known, (-1, 1))


def test_a_truncated_normal_stays_inside() -> None:
    latent = read_latent("truncated:0.5:2000")
    assert str(latent) == "truncated:0.5:2000"
    drawn = latent.row(torch.Generator().manual_seed(0))
    assert drawn.abs().max() <= 1
    assert drawn.std() == pytest.approx(0.5 * 0.88, abs=0.03)
