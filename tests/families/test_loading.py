import importlib
import json
import pickle
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import ganpatch
from ganpatch import GanpatchError
from ganpatch.families.loading import recognised
from ganpatch.families.registry import families
from ganpatch.forward.default_layer import default_layer
from ganpatch.forward.layer_facts import list_layers
from tests.support.nets import dcgan, progressive

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.deep = nn.Linear(6, width * 16)
        self.out = nn.Conv2d(width, 3, 3, padding=1)
    def forward(self, z):
        return torch.tanh(self.out(self.deep(z).view(z.shape[0], -1, 4, 4)))

def broken():
    raise RuntimeError("no weights here")

def number():
    return 3

class Grey(Net):
    def forward(self, z):
        return super().forward(z)[:, :1]

class Nan(Net):
    def forward(self, z):
        return super().forward(z) * float("nan")

class Deaf(Net):
    def forward(self, z):
        return super().forward(z * 0)

class Two(Net):
    def forward(self, z):
        return super().forward(z)[:, :2]

class Lone(Net):
    def forward(self, z):
        return super().forward(z).squeeze()

class Conditional(Net):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(5, 6)
    def forward(self, z, labels):
        return super().forward(z + self.embed(labels))
"""


@pytest.fixture
def net(tmp_path: Path) -> Path:
    path = tmp_path / "net.py"
    path.write_text(NET)
    return path


def refusal(model: object = None, **options: object) -> str:
    with pytest.raises(GanpatchError) as fault:
        ganpatch.load(model, **options)  # type: ignore[arg-type]
    return str(fault.value)


@pytest.mark.parametrize(("make", "family"), [(dcgan, "DCGAN"), (progressive, "Progressive GAN")])
def test_families_are_known_by_their_tensors(make, family: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    module, latent = make()
    found = recognised(module.state_dict())
    assert found is not None
    assert family == found.NAME
    torch.save(module.state_dict(), tmp_path / "a.pt")
    generator = ganpatch.load(tmp_path / "a.pt")
    assert str(generator.latent) == latent
    args, _ = generator.inputs([0, 1])
    assert torch.equal(generator.module(*args), module(*args))


def test_what_belongs_to_no_family(tmp_path: Path) -> None:
    assert recognised({"a": torch.zeros(1)}) is None
    assert recognised({name: t for name, t in progressive()[0].state_dict().items() if "layer3" not in name}) is None
    path = tmp_path / "a.pt"
    torch.save(nn.Linear(2, 2).state_dict(), path)
    known = ", ".join(family.NAME for family in families())
    assert refusal(path) == (
        f"'{path}' is of no family that ganpatch knows ({known}); "
        "name the code that makes the module: --arch file.py:factory"
    )
    assert known.startswith("DCGAN, DCGAN with a linear layer, Progressive GAN, pytorch_GAN_zoo, BigGAN")


def test_a_dcgan_with_biases_and_another_name(tmp_path: Path) -> None:
    layers = nn.Sequential(nn.ConvTranspose2d(5, 8, 4), nn.ReLU(), nn.ConvTranspose2d(8, 1, 4, 2, 1), nn.Tanh())
    torch.save({f"net.{name}": tensor for name, tensor in layers.state_dict().items()}, tmp_path / "a.pt")
    generator = ganpatch.load(tmp_path / "a.pt")
    z = torch.randn(2, 5, 1, 1)
    assert torch.equal(generator.module(z), layers(z))
    assert generator.sample([0]).shape == (1, 3, 8, 8)
    assert [fact.name for fact in list_layers(generator)] == ["net.0", "net.1", "net.2", "net.3", "net"]


def test_a_factory_in_a_file(net: Path, tmp_path: Path) -> None:
    generator = ganpatch.load(f"{net}:Net", latent="normal:6")
    assert generator.sample([0, 1]).shape == (2, 3, 4, 4)
    assert ganpatch.load(f"{net}:Grey", latent="normal:6").sample([0]).shape == (1, 3, 4, 4)
    wide = ganpatch.load(f"{net}:Net", latent="normal:6", arch_args={"width": 8})
    torch.save(wide.module.state_dict(), tmp_path / "w.pt")
    loaded = ganpatch.load(tmp_path / "w.pt", arch=f"{net}:Net", arch_args={"width": 8}, latent="normal:6")
    assert loaded.fingerprint == wide.fingerprint
    assert loaded.name == "w"


def test_a_conditional_model(net: Path) -> None:
    generator = ganpatch.load(f"{net}:Conditional", latent="normal:6", labels="index:5")
    images = generator.sample(range(8))
    assert torch.allclose(images[3], generator.sample([3])[0], atol=1e-6)
    assert "does it take --labels" in refusal(f"{net}:Conditional", latent="normal:6")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Nan", "the output is not finite: the weights are broken or do not fit"),
        ("Deaf", "the image does not change with the seed: it ignores its latent, or the weights were not loaded"),
        ("Two", "the output is a tensor [2, 2, 4, 4], not images [N, 1 or 3, H, W]"),
        (
            "Lone",
            "a batch of two works, and a batch of one does not: the output is a tensor [3, 4, 4], not images "
            "[N, 1 or 3, H, W]; if the forward pass calls squeeze(), name the dimension, as in squeeze(-1)",
        ),
    ],
)
def test_each_check_on_load_says_what_failed(net: Path, name: str, message: str) -> None:
    assert refusal(f"{net}:{name}", latent="normal:6") == f"{net}:{name}: {message}"


def test_factories_that_fail(net: Path) -> None:
    assert refusal(f"{net}:broken", latent="normal:6") == f"{net}:broken raised RuntimeError: no weights here"
    assert refusal(f"{net}:number", latent="normal:6") == f"{net}:number returned a int, not an nn.Module"
    assert refusal(f"{net}:Nett", latent="normal:6") == f"{net} has no factory 'Nett'; did you mean 'Net'?"
    assert refusal(f"{net}:Net", latent="normal:6", arch_args={"wdth": 2}).endswith(
        "give its arguments with --arch-arg name=value"
    )
    assert "no module named 'nopackage'" in refusal("nopackage.mod:f", latent="normal:6").lower()
    assert refusal(f"{net}:Net") == (
        f"{net}:Net: its latent is not known; say what it takes: --latent normal:100, --latent normal:100,1,1 "
        "or --latent uniform:-1,1:100; 'ganpatch init' tries to find out"
    )


def test_a_latent_that_does_not_fit(net: Path) -> None:
    message = refusal(f"{net}:Net", latent="normal:7")
    assert message.startswith(f"{net}:Net: a forward pass with inputs [2, 7] fails: ")
    assert message.endswith("is --latent normal:7 right, and does it take --labels?")


def test_a_code_file_that_raises_on_import(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("import nothing_like_this\n")
    assert refusal(f"{tmp_path / 'bad.py'}:f", latent="normal:1") == (
        f"'{tmp_path / 'bad.py'}' raised ModuleNotFoundError on import: No module named 'nothing_like_this'"
    )


def test_a_model_that_does_not_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.pt").write_bytes(b"")
    assert refusal("model.tp") == (
        "model 'model.tp' not found: not a bundled name (churches), no such file, not file.py:factory; did you mean 'model.pt'?"
    )
    assert refusal("chruches").endswith("did you mean 'churches'?")


def test_a_pickled_model_of_a_family_needs_no_trust(tmp_path: Path) -> None:
    module, latent = progressive()
    torch.save(module, tmp_path / "whole.pt")
    for trust in (False, True):
        generator = ganpatch.load(tmp_path / "whole.pt", trust_pickle=trust, latent=latent)
        assert generator.fingerprint == ganpatch.fingerprint(module)


def test_a_pickled_model_of_the_users_own(net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its class is found beside the file, also in a plain pickle; --arch needs no trust; else the message says where it was looked for."""
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("net").Net()
    (tmp_path / "whole.pkl").write_bytes(pickle.dumps(module))
    torch.save(module, tmp_path / "whole.pt")
    monkeypatch.undo()
    for name in ("whole.pkl", "whole.pt"):
        monkeypatch.delitem(sys.modules, "net", raising=False)
        path = tmp_path / name
        known = ", ".join(family.NAME for family in families())
        assert refusal(path, latent="normal:6") == (
            f"'{path}' is of no family that ganpatch knows ({known}); it holds a whole net.Net; "
            "name the code that makes the module: --arch file.py:factory, or pass --trust-pickle if you made the file yourself"
        )
        trusted = ganpatch.load(path, trust_pickle=True, latent="normal:6")
        named = ganpatch.load(path, arch=f"{net}:Net", latent="normal:6")
        assert trusted.fingerprint == named.fingerprint == ganpatch.fingerprint(module)
    monkeypatch.delitem(sys.modules, "net", raising=False)
    net.rename(tmp_path / "other.py")
    message = refusal(tmp_path / "whole.pkl", trust_pickle=True, latent="normal:6")
    assert message == (
        f"cannot unpickle '{tmp_path / 'whole.pkl'}': ModuleNotFoundError: No module named 'net'; its code was looked for "
        f"in '{tmp_path}', in the working folder and among installed packages"
    )


OWN_PATH = """
import os, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))

def make():
    import own_nets
    return own_nets.late()
"""
LATE = """
from torch import nn

class Late(nn.Sequential):
    def forward(self, z):
        import own_sibling
        return own_sibling.scaled(super().forward(z))

def late():
    return Late(nn.ConvTranspose2d(4, 8, 4), nn.ConvTranspose2d(8, 3, 4, 2, 1), nn.Tanh()).eval()
"""


def test_code_imports_what_python_would_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folders that the code puts on its path stay for the factory, its own for what forward imports."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "own_nets.py").write_text(LATE)
    (tmp_path / "mine.py").write_text(
        OWN_PATH + "\nimport torch\nnet = torch.nn.Sequential(torch.nn.ConvTranspose2d(4, 3, 4))\n"
    )
    (tmp_path / "own_sibling.py").write_text("def scaled(x):\n    return x / 2\n")
    before = list(sys.path)
    try:
        generator = ganpatch.load(f"{tmp_path / 'mine.py'}:make", latent="normal:4,1,1")
        assert generator.sample([0, 1]).shape == (2, 3, 8, 8)
        assert [entry for entry in sys.path if entry not in before] == [str(tmp_path / "lib")]
    finally:
        sys.path[:] = before
        for name in ("own_nets", "own_sibling"):
            sys.modules.pop(name, None)
    assert ganpatch.load(f"{tmp_path / 'mine.py'}:net", latent="normal:4,1,1").sample([0]).shape == (1, 3, 4, 4)
    assert refusal(f"{tmp_path / 'mine.py'}:net", latent="normal:4,1,1", arch_args={"a": 1}) == (
        f"{tmp_path / 'mine.py'}:net is a Sequential, not a factory: it takes no --arch-arg"
    )
    sys.path[:] = before


def test_settings_say_which_model_and_how(net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(ganpatch.load("net.py:Net", latent="normal:6").module.state_dict(), tmp_path / "w.pt")
    (tmp_path / "ganpatch.toml").write_text(
        '[model]\npath = "w.pt"\narch = "net.py:Net"\nlatent = "normal:6"\nrange = [0, 1]\n'
    )
    assert ganpatch.load().name == "w"
    assert ganpatch.load("w.pt").range == (0, 1)
    assert ganpatch.load(range=(-2.0, 2.0)).range == (-2, 2)
    assert ganpatch.load("net.py:Net", latent="uniform:0,1:6").range == (-1, 1)


def test_faults_of_settings_are_all_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ganpatch.toml").write_text('[model]\nlatnet = "normal:6"\nkey = 3\n[rnak]\n')
    assert refusal().splitlines() == [
        "ganpatch.toml: model.key: input should be a valid string",
        "ganpatch.toml: model.latnet is not a setting; did you mean 'latent'?",
        "ganpatch.toml: rnak is not a setting; did you mean 'rank'?",
    ]
    (tmp_path / "ganpatch.toml").write_text("[model\n")
    assert refusal().startswith("ganpatch.toml: Expected ']'")


def test_the_layer_at_8x8_is_the_default(
    small_progressive: ganpatch.Generator, small_dcgan: ganpatch.Generator
) -> None:
    assert default_layer(list_layers(small_progressive)).name == "layer4"
    assert default_layer(list_layers(small_dcgan)).name == "main.5"


def test_layer_facts(small_dcgan: ganpatch.Generator) -> None:
    facts = {fact.name: fact for fact in list_layers(small_dcgan)}
    assert (facts["main.3"].kind, facts["main.3"].units, facts["main.3"].size, facts["main.3"].calls) == (
        "ConvTranspose2d", 8, (8, 8), 1,
    )  # fmt: skip
    json.dumps([fact.size for fact in facts.values()])
