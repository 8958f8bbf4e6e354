"""Upscalers and restorers: how their inputs are cut, what is refused, and what the package spandrel adds.

That they draw what the original code draws is checked by test_conformance.py.
"""

import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import ganpatch
from ganpatch import GanpatchError
from ganpatch.families import registry, spandrel_models
from ganpatch.torchvision_import import made_importable
from tests.support.conformance import Fixture
from tests.support.shared import ROOT


def saved(name: str, folder: Path) -> Path:
    torch.save({"params_ema": Fixture.read(ROOT / "tests" / "families" / "checkpoints" / f"{name}.json").state()}, folder / "x.pth")  # fmt: skip
    return folder / "x.pth"


def pictures(folder: Path, *images: Image.Image) -> Path:
    folder.mkdir()
    for number, image in enumerate(images):
        image.save(folder / f"{number}.png")
    return folder


def grey(height: int, width: int, kind: Any = np.uint8) -> Image.Image:
    most = np.iinfo(kind).max
    return Image.fromarray((np.linspace(0, most, height * width).reshape(height, width)).astype(kind))


def refusal(*arguments: Any, **options: Any) -> str:
    with pytest.raises(GanpatchError) as fault:
        ganpatch.load(*arguments, **options)
    return str(fault.value)


def test_pictures_of_any_size_and_mode_are_cut_at_their_own_scale(tmp_path: Path) -> None:
    wide, deep = grey(40, 90), grey(33, 50, np.uint16)
    clear = Image.merge("RGBA", [grey(70, 41), grey(70, 41), grey(70, 41), Image.new("L", (41, 70), 9)])
    folder = pictures(tmp_path / "photos", wide, deep, clear)
    generator = ganpatch.load(saved("compact", tmp_path), inputs=folder)
    assert str(generator.latent) == "images:3,33,41"
    assert generator.remarks == (
        "--inputs: the middle 33x41 of each of 3 images (the smallest is 33x41); another size: --latent images:3,H,W",
    )
    (rows,) = generator.inputs_of(range(3))
    expected = np.asarray(wide, dtype=np.float32)[3:36, 24:65] / 255
    assert torch.equal(rows[0], torch.from_numpy(expected).expand(3, -1, -1))
    expected = np.asarray(deep, dtype=np.float32)[:, 4:45] / 65535
    assert torch.allclose(rows[1, 2], torch.from_numpy(expected), atol=1e-6)
    assert torch.equal(rows[2, 0], torch.from_numpy(np.asarray(clear)[18:51, :, 0] / np.float32(255)))
    assert generator.sample([0, 1]).shape == (2, 3, 4 * 33, 4 * 41)


def test_a_network_gets_the_multiples_it_needs(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "photos", grey(41, 90))
    path = saved("esrgan-unshuffle", tmp_path)
    generator = ganpatch.load(path, inputs=folder)
    assert str(generator.latent) == "images:3,40,64"
    assert generator.sample([0]).shape == (1, 3, 80, 128)
    assert refusal(path, inputs=folder, latent="images:3,33,40") == (
        "images:3,33,40: this network takes images whose height and width are multiples of 2"
    )
    assert ganpatch.load(path, inputs=folder, latent="images:3,44,44").sample([0]).shape == (1, 3, 88, 88)


def test_an_encoder_is_named(tmp_path: Path) -> None:
    state = {"0.weight": torch.ones(8, 3, 3, 3), "1.conv.0.weight": torch.ones(8, 8, 3, 3), "1.conv.4.weight": torch.ones(8, 8, 3, 3)}  # fmt: skip
    torch.save(state, tmp_path / "taesd_encoder.pth")
    assert refusal(tmp_path / "taesd_encoder.pth") == (
        "TAESD: this is the encoder, which makes latents of images; load the file of the decoder"
    )


def test_a_plain_pickle_of_training_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What R3GAN's code saves: whole modules, of classes that are not there when the file is read."""
    fixture = Fixture.read(ROOT / "tests" / "families" / "checkpoints" / "r3gan-conditional.json")
    code = types.ModuleType("training_code")
    monkeypatch.setitem(sys.modules, "training_code", code)
    made = type("Net", (torch.nn.Module,), {"__module__": "training_code"})
    code.Net = made  # type: ignore[attr-defined]

    def part(state: dict[str, torch.Tensor]) -> torch.nn.Module:
        root: torch.nn.Module = made()
        for name, tensor in state.items():
            *way, last = name.split(".")
            here = root
            for step in way:
                if step not in here._modules:
                    here.add_module(step, torch.nn.Module())
                here = here.get_submodule(step)
            here.register_buffer(last, tensor)
        return root

    raw = {name: tensor * 0 for name, tensor in fixture.state().items()}
    (tmp_path / "r3.pkl").write_bytes(pickle.dumps({"G": part(raw), "G_ema": part(fixture.state()), "cur_nimg": 3}))
    monkeypatch.delitem(sys.modules, "training_code")
    generator = ganpatch.load(tmp_path / "r3.pkl")
    assert generator.remarks[0].endswith("took the averaged weights 'G_ema.Model'; --key G.Model takes the others")
    assert (str(generator.latent), str(generator.labels)) == ("normal:6", "onehot:3")
    assert generator.sample([0, 1]).shape == (2, 3, 16, 16)


def test_spandrel_reads_what_it_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_importable()
    from spandrel.architectures.DRUNet import DRUNet
    from spandrel.architectures.PLKSR import PLKSR

    torch.manual_seed(0)
    network = PLKSR(dim=16, n_blocks=2, upscaling_factor=2).eval()
    path = tmp_path / "x.pth"
    torch.save({"params": network.state_dict()}, path)
    folder = pictures(tmp_path / "photos", grey(40, 44), grey(40, 45))
    generator = ganpatch.load(path, inputs=folder)
    assert generator.remarks[0] == "PLKSR, as the package spandrel reads it"
    args = generator.inputs_of([0, 1])
    with torch.no_grad():
        assert torch.equal(generator.module(*args), network(*args))
    patch = ganpatch.Patch(
        name="fix",
        model=ganpatch.Model.of("x", generator.fingerprint),
        edits=[ganpatch.Edit(id="off", layer="feats.0", channels=16, units=(1, 3))],
    )
    fixed = ganpatch.repair(generator, patch, source=path, output=tmp_path / "fixed.pth")
    assert torch.load(fixed.path)["params"].keys() == network.state_dict().keys()

    noisy = DRUNet(in_nc=4, out_nc=3, nc=[8, 8, 8, 8], nb=2)
    torch.save(noisy.state_dict(), path)
    assert ganpatch.load(path, inputs=folder).sample([0]).shape == (1, 3, 40, 40), "the noise level is added"

    torch.save(network.state_dict(), path)
    monkeypatch.setattr(spandrel_models, "is_installed", lambda: False)
    monkeypatch.setattr(registry, "is_installed", lambda: False)
    assert "R3GAN, spandrel's architectures, if it is installed: pip install 'ganpatch[spandrel]'); " in refusal(path)


def test_the_input_is_shown_beside_the_output(tmp_path: Path) -> None:
    """In the rows of a run, in its contact sheets and before pairs; the thumbnails themselves stay what came out."""
    folder = pictures(tmp_path / "photos", grey(16, 16), grey(16, 20), grey(20, 16))
    generator = ganpatch.load(saved("compact", tmp_path), inputs=folder)
    ranking = ganpatch.rank(generator, layers=["body.1"], seeds=range(3), k=2)
    ranking.save(tmp_path / "run")
    again = ganpatch.Ranking.load(tmp_path / "run")
    seed = int(again["body.1"].top_seeds[0, 0])
    given = np.asarray(pixels_in(folder, seed).convert("RGB"))
    assert np.array_equal(again.inputs[seed], given.repeat(4, 0).repeat(4, 1))
    assert np.array_equal(again.thumbnails[seed], ranking.thumbnails[seed])
    assert again.thumbnails[seed].shape == (64, 64, 3)
    assert again.contact_sheet("body.1", [0]).width == 84 + 2 * (2 * 64 + 2)
    page = (ganpatch.write_page(tmp_path / "run")).read_text()
    assert '"inputs":true' in page.replace(" ", "")
    patch = ganpatch.Patch(
        name="fix",
        model=ganpatch.Model.of("x", generator.fingerprint),
        edits=[ganpatch.Edit(id="off", layer="body.1", channels=8, units=(1, 3))],
    )
    picture = ganpatch.Sample(generator, range(3), patch).pairs()
    assert picture.width == 3 * (3 * (2 * 64 + 2) + 14) + 14


def pixels_in(folder: Path, number: int) -> Image.Image:
    image = Image.open(folder / f"{number}.png")
    left, top = (image.width - 16) // 2, (image.height - 16) // 2
    return image.crop((left, top, left + 16, top + 16))
