"""DCGANs of all kinds, compared with plain torch; and the messages when tensors do not fit their family."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ganpatch
from ganpatch import GanpatchError
from ganpatch.families.registry import recognised
from ganpatch.patch.patch_file import Model
from tests.support.conformance import Fixture, conform
from tests.support.nets import settled
from tests.support.shared import ROOT

Sizes = list[tuple[int, int]]


def transposed(sizes: Sizes, first: int = 1) -> nn.Sequential:
    """Transposed convolutions, the first to 4x4, with BatchNorm and ReLU between and tanh at the end."""
    layers: list[nn.Module] = []
    for place, (before, after) in enumerate(sizes):
        layers.append(nn.ConvTranspose2d(before, after, 4, *((1, 0) if place == 0 else (2, 1)), bias=False))
        layers += [nn.Tanh()] if place == len(sizes) - 1 else [nn.BatchNorm2d(after), nn.ReLU(True)]
    return nn.Sequential(*layers)


class Conditional(nn.Module):
    """Label in an embedding, or as a one-hot row, beside z."""

    def __init__(self, width: int, embedded: bool) -> None:
        super().__init__()
        torch.manual_seed(5)
        if embedded:
            self.label_emb = nn.Embedding(5, width)
        self.main = transposed([(7 + width, 16), (16, 8), (8, 3)])

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        row = self.label_emb(label) if hasattr(self, "label_emb") else label
        return self.main(torch.cat([z.flatten(1), row], 1)[:, :, None, None])


class Udacity(nn.Module):
    """A linear layer, then t_conv1, t_conv2, …, the last without BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(6)
        self.fc = nn.Linear(10, 16 * 16)
        for place, (before, after) in enumerate([(16, 12), (12, 8), (8, 3)], 1):
            conv = nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False)
            self.add_module(f"t_conv{place}", nn.Sequential(conv, *([nn.BatchNorm2d(after)] if after > 3 else [])))

    def forward(self, z: Tensor) -> Tensor:
        x = self.fc(z).view(-1, 16, 4, 4)
        x = torch.relu(self.t_conv2(torch.relu(self.t_conv1(x))))
        return torch.tanh(self.t_conv3(x))


def saved(module: nn.Module, path: Path) -> Path:
    torch.save(module.state_dict(), path)
    return path


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(GanpatchError) as fault:
        ganpatch.load(path, **options)
    return str(fault.value)


def test_a_class_embedded_beside_z(tmp_path: Path) -> None:
    module = Conditional(4, embedded=True).eval()
    generator = ganpatch.load(saved(module, tmp_path / "g.pt"))
    assert (str(generator.latent), str(generator.labels)) == ("normal:7,1,1", "index:5")
    args, _ = generator.inputs(range(4))
    assert torch.equal(generator.module(*args), module(*args))
    assert conform(generator, onnx=False)["bake"] == "folded"
    some = ganpatch.load(tmp_path / "g.pt", labels="index:5=2")
    assert some.inputs(range(4))[0][1].tolist() == [2, 2, 2, 2]


def test_a_one_hot_class_beside_z(tmp_path: Path) -> None:
    """The tensors are those of a plain DCGAN: the user names the code."""
    module = Conditional(5, embedded=False).eval()
    path = saved(module, tmp_path / "g.pt")
    assert str(ganpatch.load(path).latent) == "normal:12,1,1"
    generator = ganpatch.load(path, labels="onehot:5")
    assert str(generator.latent) == "normal:7,1,1"
    args, _ = generator.inputs(range(4))
    assert torch.equal(generator.module(*args), module(*args))
    said = "DCGAN: the tensors contain no embedding of classes; add --labels onehot:5"
    assert refusal(path, labels="index:5") == said
    assert "its first layer takes 12 numbers, too few for a latent and 40 classes" in refusal(path, labels="onehot:40")


def test_a_linear_layer_first(tmp_path: Path) -> None:
    module = settled(Udacity(), (10,))
    generator = ganpatch.load(saved(module, tmp_path / "g.pt"))
    assert str(generator.latent) == "uniform:-1,1:10"
    args, _ = generator.inputs(range(4))
    assert args[0].min() < -0.5
    assert torch.equal(generator.module(*args), module(*args))
    assert str(ganpatch.load(tmp_path / "g.pt", latent="normal:10").latent) == "normal:10"
    assert conform(generator, onnx=False, layer="t_conv1")["bake"] == "folded"


def state_of(name: str) -> dict[str, Tensor]:
    return Fixture.read(ROOT / "tests" / "families" / "checkpoints" / f"{name}.json").state()


def test_tensors_that_do_not_fit_are_named(tmp_path: Path) -> None:
    path = tmp_path / "g.pt"
    hint = "it was taken for FastGAN; if it is something else, name its code: --arch file.py:factory"
    state = state_of("fastgan")
    del state["se_64.main.3.weight_u"]
    state["feat_8.1.extra"] = torch.zeros(2)
    torch.save(state, path)
    assert refusal(path) == (
        f"'{path}' does not fit FastGANGenerator: tensors: 1 missing (se_64.main.3.weight_u); "
        f"1 unknown (feat_8.1.extra): {hint}"
    )
    del state["feat_16.1.weight_orig"]
    torch.save(state, path)
    assert refusal(path) == f"'{path}' lacks the tensor 'feat_16.1.weight_orig': {hint}"
    state = state_of("gan-zoo-dcgan")
    state["main.convTranspose2.weight"] = torch.zeros(16, 9, 4, 4)
    torch.save({"netG": state}, path)
    message = refusal(path)
    assert message.startswith(f"'{path}' under 'netG' does not fit ZooDCGAN: tensors: ")
    assert "'main.batchNorm2.weight' is [8] and should be [9]" in message


def test_a_wrong_guess_is_put_right_by_code(tmp_path: Path) -> None:
    """Tensors with a family's names, of another network: refused with the way out, and --arch takes it."""
    (tmp_path / "net.py").write_text(
        "import torch\nfrom torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n"
        "        self.main = nn.Sequential(nn.ConvTranspose2d(6, 8, 4), nn.ConvTranspose2d(8, 3, 4, 4))\n"
        "    def forward(self, z):\n        return torch.sin(self.main(z[:, :, None, None]))\n"
    )
    made = ganpatch.load(f"{tmp_path / 'net.py'}:Net", latent="normal:6")
    path = saved(made.module, tmp_path / "g.pt")
    assert recognised(torch.load(path)) is not None
    loaded = ganpatch.load(path, arch=f"{tmp_path / 'net.py'}:Net", latent="normal:6")
    assert torch.equal(loaded.sample([0]), made.sample([0]))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("fastgan", {"truncation": 0.5}, "FastGAN takes no --truncation"),
        ("rosinality", {"labels": "onehot:3"}, "StyleGAN2 (rosinality) takes no --labels"),
        ("gandissect", {"repo": "."}, "Progressive GAN takes no --repo"),
        ("hf-biggan", {"truncation": 1.5}, "--truncation 1.5 is outside (0, 1]"),
        ("pix2pix", {"latent": None}, "g turns images into images; name a folder of them: --inputs DIR"),
    ],
)
def test_options_that_a_family_does_not_take(name: str, options: dict[str, Any], message: str, tmp_path: Path) -> None:
    torch.save(state_of(name), tmp_path / "g.pt")
    assert refusal(tmp_path / "g.pt", **options) == message


def test_truncation_makes_images_more_alike(tmp_path: Path) -> None:
    for name in ("rosinality", "lucidrains"):
        torch.save(state_of(name), tmp_path / "g.pt")
        free, calm = (ganpatch.load(tmp_path / "g.pt", truncation=psi).sample(range(6)) for psi in (None, 0.2))
        assert calm.std(0).mean() < 0.6 * free.std(0).mean(), name


def test_averaged_weights_are_taken(tmp_path: Path) -> None:
    averaged = state_of("gan-zoo-dcgan")
    torch.save({"netG": {k: t * 0.5 for k, t in averaged.items()}, "avgG": averaged, "step": 3}, tmp_path / "g.pt")
    loaded = ganpatch.load(tmp_path / "g.pt")
    assert torch.equal(loaded.module.state_dict()["formatLayer.weight"], averaged["formatLayer.weight"])


def test_what_is_not_the_generators_stays_in_a_repaired_file(tmp_path: Path) -> None:
    """A whole training checkpoint: discriminator and plain generator are written back as they were."""
    state = state_of("lucidrains")
    assert any(name.startswith("D.") for name in state)
    torch.save({"GAN": state, "version": "1.0"}, tmp_path / "model.pt")
    generator = ganpatch.load(tmp_path / "model.pt")
    layer = "GE.initial_conv"
    channels = state[f"{layer}.weight"].shape[0]
    edit = ganpatch.Edit(id="off", layer=layer, channels=channels, units=(1, 3))
    patch = ganpatch.Patch(name="fix", model=Model.of("model", generator.fingerprint), edits=[edit])
    fixed = ganpatch.repair(generator, patch, source=tmp_path / "model.pt", output=tmp_path / "fixed.pt").path
    written = torch.load(fixed)
    assert written["version"] == "1.0"
    assert written["GAN"].keys() == state.keys()
    changed = [name for name in state if not torch.equal(written["GAN"][name], state[name])]
    assert changed
    assert all(name.startswith("GE.initial_conv.") for name in changed)
