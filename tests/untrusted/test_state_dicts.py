"""Which network of a checkpoint is meant, the way that trainers save it: prefixes, keys, and other objects."""

import datetime
import enum
import pickle
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import ganpatch
from ganpatch import GanpatchError
from ganpatch.families.registry import recognised
from ganpatch.untrusted.weight_files import Checkpoint, read_checkpoint
from tests.support.nets import dcgan
from tests.support.shared import patch_for

OWN = dcgan()[0].state_dict()
OTHER = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 1, 3)).state_dict()


class Phase(enum.Enum):
    SECOND = 2


class Configuration:
    """Pickles as configuration libraries' dicts do: a class, a state with parents, and keys that are objects."""

    def __init__(self) -> None:
        self.content = {"z": 16, Phase.SECOND: ["a"]}
        self.parent = self


def under(prefix: str, state: Any) -> dict[str, Any]:
    return {f"{prefix}.{name}": value for name, value in state.items()}


def saved(content: Any, path: Path) -> Path:
    torch.save(content, path)
    return path


def read(path: Path, **options: Any) -> Checkpoint:
    return read_checkpoint(path, recognised=lambda state: recognised(state) is not None, **options)


def refusal(read: Callable[[], Any]) -> str:
    with pytest.raises(GanpatchError) as fault:
        read()
    return str(fault.value)


@pytest.mark.parametrize(
    ("content", "key", "remarks"),
    [
        ({"state_dict": {**under("generator", OWN), **under("discriminator", OTHER)}, "epoch": 3}, "state_dict.generator", ["took 'state_dict.generator'; not used: state_dict.discriminator (4 tensors)"]),
        ({"state_dict": under("netG", OWN)}, "state_dict.netG", []),
        ({"state_dict": {**under("generator._orig_mod", OWN), **under("discriminator._orig_mod", OTHER)}}, "state_dict.generator", ["took 'state_dict.generator'; not used: state_dict.discriminator (4 tensors)"]),
        (under("module.model.G", OWN) | under("module.model.D", OTHER), "module.model.G", ["took 'module.model.G'; not used: module.model.D (4 tensors)"]),
        (under("unet", OWN), "unet", []),
        ({name.replace("main.", "main.module."): tensor for name, tensor in OWN.items()}, "", []),
        (under("module", OWN) | {"n_averaged": torch.tensor(3)}, "module", ["took 'module'; not used: n_averaged (1 tensors)"]),
        (under("vae.decoder", OWN) | under("vae.encoder", OTHER), "vae.decoder", ["took 'vae.decoder'; not used: vae.encoder (4 tensors)"]),
        ({"netG": OWN, "out": PurePosixPath("/tmp/x")}, "netG", ["not read, and not written again: out (pathlib.PurePosixPath)"]),
        ({"netG": OWN, "when": datetime.datetime(2026, 1, 1), "log": [datetime.date(2026, 1, 1)]}, "netG", ["not read, and not written again: when (datetime.datetime), log (datetime.date)"]),
        ({"netG": OWN, "phase": Phase.SECOND}, "netG", ["not read, and not written again: phase (test_state_dicts.Phase)"]),
        ({"netG": OWN, "args": {"config": Configuration(), "lr": 0.1}}, "netG", ["not read, and not written again: args.config (test_state_dicts.Configuration)"]),
        ({"netG": OWN, "objects": np.array([None, 3]), "text": np.array(["a", "bc"])}, "netG", ["not read, and not written again: objects (ndarray)"]),
        ({**OWN, "epoch": 3, "z_dim": 16}, "", []),
        ({**OWN, "main._extra_state": {"scale": torch.ones(1)}}, "", []),
        ({0: OWN, 1: OTHER}, "0", ["took '0'; not used: 1 (4 tensors)"]),
        ([OWN, OTHER], "0", ["took '0'; not used: 1 (4 tensors)"]),
        ({"netG": OWN, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}, "fixed_noise": torch.ones(1, 3)}, "netG", []),
        ({Phase.SECOND: OWN}, "Phase(2)", []),
    ],
    ids=["lightning", "one prefix", "compiled", "nested", "any prefix", "wrapped inside", "averaged model", "decoder", "path", "date", "enum", "configuration", "arrays", "numbers", "extra state", "numbered", "list", "trainer", "key"],
)  # fmt: skip
def test_the_generator_is_found(content: Any, key: str, remarks: list[str], tmp_path: Path) -> None:
    path = saved(content, tmp_path / "a.pt")
    found = read(path)
    assert (found.key, found.state.keys()) == (key, OWN.keys())
    assert all(torch.equal(found.state[name], tensor) for name, tensor in OWN.items())
    assert list(found.remarks) == [f"'{path}': {remark}" for remark in remarks]
    if key:
        assert read(path, key=key).state.keys() == OWN.keys()


def test_averaged_weights_are_taken_and_the_others_named(tmp_path: Path) -> None:
    raw = {name: tensor * 0 for name, tensor in OWN.items()}
    for number, content in enumerate(({"netG": raw, "netG_ema": OWN}, under("g", raw) | under("g_ema", OWN))):
        path = saved(content, tmp_path / f"{number}.pt")
        plain, averaged = list({name.partition(".")[0]: 0 for name in content})
        found = read(path)
        assert found.key == averaged
        assert torch.equal(found.state["main.0.weight"], OWN["main.0.weight"])
        assert found.remarks == (f"'{path}': took the averaged weights '{averaged}'; --key {plain} takes the others",)
        assert not read(path, key=plain).state["main.0.weight"].any()
    path = saved(under("netG_A", OWN) | under("netG_B", raw), tmp_path / "two.pt")
    assert refusal(lambda: read(path)) == (
        f"'{path}' holds 2 networks that fit; choose one with --key: 'netG_A' (13 tensors), 'netG_B' (13 tensors)"
    )


def test_a_key_is_a_path_or_a_prefix(tmp_path: Path) -> None:
    path = saved({"state_dict": {**under("generator", OWN), **under("discriminator", OTHER)}}, tmp_path / "a.pt")
    for key in ("state_dict.generator", "state_dict.generator.", "generator", "generator."):
        assert read(path, key=key).key == "state_dict.generator"
    assert read(path, key="discriminator").state.keys() == OTHER.keys()
    assert refusal(lambda: read(path, key="generater")) == (
        f"'{path}' has no state dict under --key 'generater'; it has state_dict, state_dict.generator, "
        "state_dict.discriminator; did you mean 'generator'?"
    )


def test_parts_are_named_where_no_family_is_found(tmp_path: Path) -> None:
    path = saved({"state_dict": {**under("generator", OTHER), **under("critic", OTHER)}}, tmp_path / "a.pt")
    assert refusal(lambda: ganpatch.load(path)).endswith(
        "; it seems to hold several networks, and --key takes one: state_dict.generator (4 tensors), "
        "state_dict.critic (4 tensors); name the code that makes the module: --arch file.py:factory"
    )


def test_code_of_the_users_finds_its_tensors(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef make():\n    return nn.Sequential(nn.ConvTranspose2d(4, 3, 3), nn.Tanh())\n"
    )
    state = nn.Sequential(nn.ConvTranspose2d(4, 3, 3)).state_dict()
    path = saved({"state_dict": under("gen.module", state) | under("disc", OTHER)}, tmp_path / "a.pt")
    generator = ganpatch.load(path, arch=f"{tmp_path / 'net.py'}:make", latent="normal:4,1,1")
    assert torch.equal(generator.module.state_dict()["0.weight"], state["0.weight"])


def test_a_repaired_file_keeps_everything_else(tmp_path: Path) -> None:
    """Other networks, optimisers, numbers, lists and names stay; what could not be read is left out, as was said."""
    content = {
        "nets": [under("module.generator", OWN) | under("module.discriminator", OTHER), {"w": torch.ones(1)}],
        "step": 3,
        "when": datetime.date(2026, 1, 1),
        "text": np.array(["a", "bc"]),
    }
    path = saved(content, tmp_path / "a.pt")
    generator = ganpatch.load(path)
    patch = patch_for(generator, {"layer": "main.4", "channels": 8, "units": [1]})
    done = ganpatch.apply_patch(path, patch, ganpatch.Target(out=tmp_path / "b.pt"))
    assert done.remarks == generator.remarks != ()
    written = torch.load(tmp_path / "b.pt", weights_only=False)
    assert written.keys() == {"nets", "step", "text"}
    assert written["text"].tolist() == ["a", "bc"]
    assert list(written["nets"][0]) == list(content["nets"][0])
    changed = [name for name, tensor in content["nets"][0].items() if not torch.equal(written["nets"][0][name], tensor)]
    assert changed
    assert all(name.startswith("module.generator.main.") for name in changed)
    assert ganpatch.revert(tmp_path / "b.pt", tmp_path / "c.pt")
    again = torch.load(tmp_path / "c.pt", weights_only=False)
    assert all(torch.equal(again["nets"][0][name], tensor) for name, tensor in content["nets"][0].items())


def test_a_plain_pickle_of_tensors(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"netG": dict(OWN), "when": datetime.date(2026, 1, 1)}))
    found = read(path)
    assert all(torch.equal(found.state[name], tensor) for name, tensor in OWN.items())
    assert found.remarks == (f"'{path}': not read, and not written again: when (datetime.date)",)
