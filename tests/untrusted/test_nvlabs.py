"""NVlabs' pickles: read without running what is in them, and built from the user's checkout. Here, one of our own."""

import pickle
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch

import ganpatch
from ganpatch import GanpatchError
from ganpatch.export.repairing import repair, repaired_path
from ganpatch.untrusted.pickle_reader import Stub
from ganpatch.untrusted.weight_files import read_checkpoint, write_checkpoint
from tests.support.shared import patch_for

NETWORKS = """
import torch
from torch_utils import half

class Mapping(torch.nn.Module):
    def __init__(self, z_dim):
        super().__init__()
        self.fc0 = torch.nn.Linear(z_dim, 8)
        self.register_buffer("w_avg", torch.zeros(8))
    def forward(self, z, psi):
        assert z.dtype == torch.float32
        return self.w_avg.lerp(self.fc0(z), psi)

class Input(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("freqs", torch.randn(8, 2))

class Synthesis(torch.nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.input = Input()
        self.L0_8_8 = torch.nn.ConvTranspose2d(8, channels, 8)
        self.L1_8_3 = torch.nn.Conv2d(channels, 3, 3, padding=1)
    def forward(self, w, noise_mode, force_fp32):
        assert noise_mode == "const" and force_fp32
        return self.L1_8_3(torch.relu(self.L0_8_8(w[:, :, None, None]))) * half(2)

class Generator(torch.nn.Module):
    def __init__(self, z_dim, c_dim, w_dim, channels=8):
        super().__init__()
        self.mapping, self.synthesis = Mapping(z_dim), Synthesis(channels)
    def forward(self, z, c, truncation_psi=1, noise_mode="random", force_fp32=False):
        assert c.shape == (len(z), 0)
        return self.synthesis(self.mapping(z.float(), truncation_psi), noise_mode=noise_mode, force_fp32=force_fp32)
"""
ARGUMENTS = {"z_dim": 6, "c_dim": 0, "w_dim": 8}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    (folder / "training").mkdir(parents=True)
    (folder / "training" / "networks_stylegan3.py").write_text(NETWORKS)
    (folder / "torch_utils").mkdir()
    (folder / "torch_utils" / "__init__.py").write_text("def half(x):\n    return x / 2\n")
    return folder


class Easy(dict):  # type: ignore[type-arg]
    """Replaces dnnlib.util.EasyDict while the pickle is written."""


Easy.__module__, Easy.__qualname__, Easy.__name__ = "dnnlib.util", "EasyDict", "EasyDict"


def _reconstruct_persistent_obj(meta: Any) -> Any:
    raise AssertionError("stored code must not run")


_reconstruct_persistent_obj.__module__ = "torch_utils.persistence"


class Persistent:
    """Pickles a module tree the way that NVlabs' persistence does: by a function, source code and a state."""

    def __init__(self, module: torch.nn.Module, arguments: dict[str, Any] | None = None) -> None:
        self.module, self.arguments = module, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        state = dict(self.module.__dict__)
        state["_modules"] = {name: Persistent(inner) for name, inner in self.module.named_children()}
        state["_init_args"], state["_init_kwargs"] = (), Easy(self.arguments or {})
        state = {name: value for name, value in state.items() if "hook" not in name}
        meta = {
            "type": "class",
            "version": 6,
            "module_src": "raise SystemExit",
            "class_name": "Generator",
            "state": state,
        }
        return _reconstruct_persistent_obj, (meta,)


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A network pickle, whose own packages are unknown again when it has been written."""
    with monkeypatch.context() as patched:
        for name, members in {"dnnlib": {}, "dnnlib.util": {"EasyDict": Easy}, "torch_utils": {"half": lambda x: x / 2}, "torch_utils.persistence": {"_reconstruct_persistent_obj": _reconstruct_persistent_obj}}.items():  # fmt: skip
            module = types.ModuleType(name)
            module.__dict__.update(members)
            patched.setitem(sys.modules, name, module)
        code: dict[str, Any] = {"__name__": "networks"}
        exec(NETWORKS, code)
        torch.manual_seed(3)
        made = Persistent(code["Generator"](**ARGUMENTS), ARGUMENTS)
        content = {
            "G": Persistent(code["Generator"](**ARGUMENTS), ARGUMENTS),
            "D": None,
            "G_ema": made,
            "augment_pipe": None,
        }
        (tmp_path / "network.pkl").write_bytes(pickle.dumps(content))
    return tmp_path / "network.pkl"


def refusal(*arguments: Any, **options: Any) -> str:
    with pytest.raises(GanpatchError) as fault:
        ganpatch.load(*arguments, **options)
    return str(fault.value)


def test_a_pickle_in_the_users_checkout(network: Path, checkout: Path, tmp_path: Path) -> None:
    """The averaged network is taken, constant noise, truncation; patched into a .pt that loads again."""
    before = set(sys.modules)
    generator = ganpatch.load(network, repo=checkout)
    assert not {"training", "torch_utils"} & (set(sys.modules) - before)
    assert str(generator.latent) == "normal:6"
    states = {name: read_checkpoint(network, key=name).state for name in ("G", "G_ema")}
    assert torch.equal(generator.module.state_dict()["mapping.fc0.weight"], states["G_ema"]["mapping.fc0.weight"])
    assert not torch.equal(states["G_ema"]["mapping.fc0.weight"], states["G"]["mapping.fc0.weight"])
    calm = ganpatch.load(network, repo=checkout, truncation=0.1).sample(range(8))
    assert calm.std(0).mean() < 0.5 * generator.sample(range(8)).std(0).mean()
    patch = patch_for(generator, {"layer": "synthesis.L1_8_3", "channels": 3, "units": [1], "alpha": 0.5})
    assert ganpatch.bake(generator, patch).proof.holds
    assert repaired_path(network).name == "network.fixed.pt"
    difference = repair(generator, patch, source=network, output=tmp_path / "fixed.pt2").difference
    assert difference < 1e-5


def test_the_networks_of_a_pickle_saved_as_a_checkpoint(network: Path, checkout: Path, tmp_path: Path) -> None:
    """What a repaired file of weights looks like: it still says how the network was made."""
    checkpoint = read_checkpoint(network, recognised=lambda state: True)
    assert checkpoint.key == "G_ema"
    zeros = torch.zeros(3)
    write_checkpoint(checkpoint, {"synthesis.L1_8_3.bias": zeros}, "torch", tmp_path / "fixed.pt")
    again = ganpatch.load(tmp_path / "fixed.pt", repo=checkout)
    assert torch.equal(again.module.state_dict()["synthesis.L1_8_3.bias"], zeros)


def test_nothing_stored_runs(tmp_path: Path) -> None:
    """Whatever a pickle names becomes an inert stub; here: a shell command."""
    witness = tmp_path / "ran"
    evil = b"\x80\x02cposix\nsystem\nX" + len(f"touch {witness}").to_bytes(4, "little") + f"touch {witness}".encode()
    (tmp_path / "evil.pkl").write_bytes(evil + b"\x85R.# _reconstruct_persistent_obj")
    assert refusal(tmp_path / "evil.pkl") == (
        f"'{tmp_path / 'evil.pkl'}' is a pickle that wants to run posix.system; it is not read"
    )
    assert not witness.exists()
    stub = Stub("a")
    stub.extend([1, 2])
    stub["k"] = 3
    assert (stub.args, stub.items) == (("a",), {0: 1, 1: 2, "k": 3})


def test_what_does_not_fit_is_named(network: Path, checkout: Path, tmp_path: Path) -> None:
    assert "the network is built from your own copy of the code: --repo FOLDER" in refusal(network)
    assert refusal(network, repo=tmp_path) == (
        f"--repo {tmp_path}: it has no training/networks_stylegan3.py, so it is no checkout that fits this network"
    )
    file = checkout / "training" / "networks_stylegan3.py"
    file.write_text("import nothing_like_this\n")
    assert refusal(network, repo=checkout) == (
        f"cannot import '{file}': ModuleNotFoundError: No module named 'nothing_like_this'; pip install nothing_like_this"
    )
    file.write_text(NETWORKS.replace("c_dim, w_dim, channels", "c_dim, channels"))
    assert f"the checkout '{checkout}' does not fit the pickle: its Generator(z_dim, c_dim, w_dim) raised TypeError" in refusal(network, repo=checkout)  # fmt: skip
    file.write_text(NETWORKS.replace("channels=8", "channels=5"))
    message = refusal(network, repo=checkout)
    assert "does not fit Generator: tensors: " in message
    assert "'synthesis.L0_8_8.weight' is [8, 8, 8, 8] and should be [8, 5, 8, 8]" in message
    torch.save(read_checkpoint(network, key="G_ema").state, tmp_path / "bare.pt")
    assert "the file does not say how the network was made" in refusal(tmp_path / "bare.pt", repo=checkout)


def test_broken_pickles(network: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.pkl").write_bytes(network.read_bytes()[:2000])
    assert f"'{tmp_path / 'cut.pkl'}' is not a readable torch checkpoint, it may be cut short: " in refusal(
        tmp_path / "cut.pkl"
    )
    (tmp_path / "old.pkl").write_bytes(b"\x80\x02cdnnlib.tflib.network\nNetwork\n)\x81}b.")
    assert "is a TensorFlow pickle; convert it with legacy.py" in refusal(tmp_path / "old.pkl")
