"""`ganpatch init`: what a model accepts, returns and allows; and the message for each rule that a model breaks."""

import json
import tomllib
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

import ganpatch
from ganpatch import GanpatchError
from ganpatch.cli import cli
from ganpatch.export.repairing import exported_program
from ganpatch.families import probing
from ganpatch.families.class_guesses import classes_beside
from ganpatch.families.probing import Probed, probe
from ganpatch.generator.load_options import LoadOptions
from tests.support.nets import in_place_trap, repeated

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, size=18, out="sigmoid", classes=0):
        super().__init__()
        if classes:
            self.embed = nn.Embedding(classes, 6)
        self.deep = nn.Linear(size, 128)
        self.conv, self.bn, self.relu = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(True)
        self.up, self.last = nn.Upsample(scale_factor=2), nn.Conv2d(8, 8, 3, padding=1)
        self.idle = nn.Conv2d(2, 2, 1)
        self.out, self.act = nn.Conv2d(8, 3, 3, padding=1), getattr(torch, out, lambda x: x * 40)
    def forward(self, z):
        x = self.relu(self.bn(self.conv(self.deep(z).view(-1, 8, 4, 4))))
        return {"z": z, "image": self.act(3 * self.out(self.last(self.up(x))))}

class Conditional(Net):
    def __init__(self):
        super().__init__(classes=4)
    def forward(self, z, label):
        return super().forward(torch.cat([z, self.embed(label)], 1))

class OneHot(Net):
    n_classes = 5
    def forward(self, z, label):
        return super().forward(torch.cat([z, label], 1))

class Cutting(Net):
    def __init__(self):
        super().__init__(size=100)
    def forward(self, z):
        return super().forward(torch.cat([z[:, :100], z[:, 100:]], 1))

class Optional(Net):
    def forward(self, z, labels=None):
        return super().forward(z)

class Listed(Net):
    style_dim = 18
    def forward(self, styles):
        assert isinstance(styles, list)
        return (super().forward(styles[0])["image"], None)

class Noisy(Net):
    def forward(self, z):
        return super().forward(z)["image"] + torch.randn(len(z), 3, 8, 8)

class Deaf(Net):
    def forward(self, z):
        return super().forward(z * 0)

class Nan(Net):
    def forward(self, z):
        return super().forward(z)["image"] / 0.0 * 0.0

class Strange(Net):
    def forward(self, tokens, mask, pose):
        return tokens
"""


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    (tmp_path / "net.py").write_text(NET)
    return tmp_path / "net.py"


def found(name: str, **options: object) -> Probed:
    return probe(f"net.py:{name}", LoadOptions(**options))  # type: ignore[arg-type]


def init(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["init", *arguments])


def test_init_writes_settings_that_the_other_commands_read(net: Path) -> None:
    torch.save(ganpatch.load("net.py:Net", latent="normal:18", arch_args={"out": "tanh"}).module.state_dict(), "w.pt")
    done = init("w.pt", "--arch", "net.py:Net", "--arch-arg", "out=tanh")
    assert done.exit_code == 0, done.output
    text = Path("ganpatch.toml").read_text()
    settings = tomllib.loads(text)
    assert settings["model"] == {
        "path": "w.pt", "arch": "net.py:Net", "arch_args": {"out": "tanh"}, "latent": "normal:18", "range": [-1.0, 1.0]
    }  # fmt: skip
    assert settings["rank"]["layers"] == ["last"]
    assert (
        '#? How was its input drawn in training? The weights do not show it; normal is a guess.\n# latent = "uniform:-1,1:18"'
        in text
    )
    assert "# never called, so no layer to rank or edit: idle" in text
    assert "# overwritten in place by the layer behind; a hook sees what they gave before: bn" in text
    assert "# torch exports it, with any batch size" in text
    assert '#? Which layers to rank? last outputs 8 maps of 8x8.\n# layers = ["relu"]' in text
    for line in [line for line in text.splitlines() if line.startswith("# latent") or line.startswith("# layers")]:
        tomllib.loads(line.removeprefix("# "))
    generator = ganpatch.load()
    assert generator.name == "w"
    assert generator.sample([0]).shape == (1, 3, 8, 8)

    again = init("w.pt", "--arch", "net.py:Net")
    assert isinstance(again.exception, GanpatchError)
    assert str(again.exception) == "ganpatch.toml is there already; --overwrite replaces it"
    assert Path("ganpatch.toml").read_text() == text
    assert init("net.py:Net", "--overwrite", "--json").exit_code == 0
    assert tomllib.loads(Path("ganpatch.toml").read_text())["model"]["arch"] == "net.py:Net"


def test_guesses(net: Path) -> None:
    conditional = found("Conditional")
    assert (conditional.latent, str(conditional.generator.labels)) == ("normal:12", "index:4")
    assert not any(question.text.startswith("How does it take a class?") for question in conditional.questions)
    vector = found("OneHot")
    assert (vector.latent, str(vector.generator.labels)) == ("normal:13", "onehot:5")
    assert any(question.text.startswith("How does it take a class?") for question in vector.questions)
    listed = found("Listed")
    assert listed.latent == "[normal:18]"
    assert ganpatch.load("net.py:Listed", latent=listed.latent).sample([0]).shape == (1, 3, 8, 8)
    assert found("Listed", latent="[normal:18]").latent == "[normal:18]"
    assert found("Net").generator.range == (0.0, 1.0)
    wild = found("Net", arch_args={"out": "none"})
    assert wild.generator.range == (-1.0, 1.0)
    assert any(question.text.startswith("Which range have the output values?") for question in wild.questions)


def test_signs_of_a_class_raise_the_question(net: Path) -> None:
    def asked(answer: Probed) -> list[tuple[str, tuple[str, ...]]]:
        return [(one.text, one.options) for one in answer.questions if one.text.startswith("Does it take a class?")]

    assert asked(found("Net", latent="normal:18")) == []
    assert asked(found("Cutting", latent="normal:100")) == [
        (
            "Does it take a class? its forward cuts its input: z[:, :100]",
            ('labels = "onehot:10"', 'labels = "index:10"'),
        )
    ]
    assert asked(found("Optional", latent="normal:18")) == [
        ("Does it take a class? its forward has an argument 'labels'", ('labels = "onehot:10"', 'labels = "index:10"'))
    ]
    torch.save({"main.0.weight": torch.randn(108, 8, 4, 4), "main.2.weight": torch.randn(8, 3, 4, 4)}, "c.pt")
    assert asked(probe("c.pt")) == [
        (
            "Does it take a class? its first layer takes 108 numbers: a latent of 100 and 8 classes?",
            ('labels = "onehot:8"', 'labels = "index:8"'),
        )
    ]
    assert ganpatch.load("c.pt").remarks == (
        "DCGAN: its first layer takes 108 numbers; if these are a latent and a class, say --labels onehot:8",
    )
    assert str(ganpatch.load("c.pt", labels="onehot:8").latent) == "normal:100,1,1"


@pytest.mark.parametrize(
    ("inputs", "found"),
    [(100, None), (128, None), (120, None), (512, None), (12, None), (110, (100, 10)), (138, (128, 10)), (74, (64, 10)), (72, (64, 8))],
)  # fmt: skip
def test_the_number_of_classes_follows_from_that_of_inputs(inputs: int, found: tuple[int, int] | None) -> None:
    assert classes_beside(inputs) == found


def test_an_export_is_tried_in_several_batches(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that fails in a batch of three, as those do that fix a size on their way, is not promised for any batch."""

    class Program:
        def module(self) -> torch.nn.Module:
            return Fixed()

    class Fixed(torch.nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return z.new_zeros(len(z), 3, 8, 8).view(min(len(z), 2), 3, 8, 8)

    assert found("Net", latent="normal:18").notes[-1] == "torch exports it, with any batch size"
    monkeypatch.setattr(probing, "exported", lambda *_arguments: Program())
    assert found("Net", latent="normal:18").notes[-1] == (
        "torch exports it with a fixed batch size only (--batch 1): in a batch of 3 it fails: shape '[2, 3, 8, 8]' is invalid "
        "for input of size 576"
    )


def test_an_exported_program_says_the_shape(net: Path) -> None:
    generator = ganpatch.load("net.py:Net", latent="normal:18")
    args, _ = generator.inputs([0, 1])
    with Path("net.pt2").open("wb") as file:
        torch.export.save(exported_program(generator.module, args), file)
    answer = probe("net.pt2", LoadOptions())
    assert answer.latent == "normal:18"
    assert answer.questions[0].text.startswith("How was its input drawn")


def test_a_known_family_leaves_few_questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support.nets import dcgan

    monkeypatch.chdir(tmp_path)
    torch.save(dcgan()[0].state_dict(), "model.pt")
    done = init("model.pt", "--json")
    answer = json.loads(done.stdout)
    assert (answer["latent"], answer["layers"]) == ("normal:8,1,1", ["main.5"])
    assert not any("How was its input drawn" in question["text"] for question in answer["questions"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Noisy", "draws noise of its own in every forward pass, so an image does not depend on its seed alone"),
        ("Deaf", "the image does not change with the seed: it ignores its latent"),
        ("Nan", "the output is not finite"),
        ("Strange", "its forward takes (tokens, mask, pose): say what the first is, for example --latent normal:100"),
    ],
)
def test_a_broken_rule_is_named(net: Path, name: str, message: str) -> None:
    with pytest.raises(GanpatchError) as fault:
        found(name)
    assert message in str(fault.value)


def test_what_hooks_see() -> None:
    trap, latent = in_place_trap()
    assert any(note.endswith("before: bn") for note in probe_of(trap, latent).notes)
    twice, latent = repeated()
    assert any("called several times per image; an edit may name one of the calls: twice (2 times)" in note for note in probe_of(twice, latent).notes)  # fmt: skip


def probe_of(module: torch.nn.Module, latent: str) -> Probed:
    for layer in module.modules():
        if isinstance(layer, torch.nn.Conv2d) and layer.out_channels == 6:
            layer.out_channels = 6
    return probe(module, LoadOptions(latent=latent, range=(-1.0, 1.0)))


def test_torchscript_is_said(net: Path) -> None:
    class Small(torch.nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return z.tanh()

    torch.jit.save(torch.jit.script(Small()), "script.pt")
    with pytest.raises(
        GanpatchError, match="is TorchScript, which does not run hooks, and its tensors are of no family"
    ):
        probe("script.pt", LoadOptions())
    with pytest.raises(GanpatchError, match="TorchScript, which does not run hooks"):
        probe(torch.jit.script(Small()), LoadOptions(latent="normal:3,8,8"))
