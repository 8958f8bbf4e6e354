import argparse
import io
import pickle
import warnings
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ganpatch import GanpatchError
from ganpatch.untrusted.weight_files import kind_of, load_state, read_checkpoint, write_checkpoint
from tests.support.nets import dcgan


def state() -> dict[str, torch.Tensor]:
    return dict(dcgan()[0].state_dict())


def refusal(path: Path, **options: object) -> str:
    with pytest.raises(GanpatchError) as fault:
        read_checkpoint(path, **options)  # type: ignore[arg-type]
    return str(fault.value)


def test_a_kind_is_told_by_content(tmp_path: Path) -> None:
    module, _ = dcgan()
    z = torch.randn(1, 8, 1, 1)
    torch.save(state(), tmp_path / "a.onnx")
    torch.save(state(), tmp_path / "b.bin", _use_new_zipfile_serialization=False)
    save_file(state(), tmp_path / "c.pt")
    with pytest.warns(DeprecationWarning, match="jit"):
        torch.jit.trace(module, z).save(tmp_path / "d.pt")
    torch.export.save(torch.export.export(module, (z,)), tmp_path / "e.pt2")
    graph = onnx.helper.make_graph([], "g", [], [])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "f.pt")
    (tmp_path / "g.pt").write_bytes(b"hello, this is text")
    kinds = [kind_of(path) for path in sorted(tmp_path.iterdir())]
    assert kinds == ["torch", "torch", "safetensors", "torchscript", "pt2", "onnx", "unknown"]


def test_nested_checkpoints_and_keys(tmp_path: Path) -> None:
    path = tmp_path / "all.tar"
    nested = {
        "netG": state(),
        "netD": {"w": torch.ones(1)},
        "model": {"g.ema": state()},
        "epoch": 3,
        "lr": np.float64(0.1),
    }
    torch.save({**nested, "args": argparse.Namespace(nz=100)}, path)
    assert refusal(path) == (
        f"'{path}' holds 3 state dicts; choose one with --key: "
        f"'netG' ({len(state())} tensors), 'netD' (1 tensors), 'model.g.ema' ({len(state())} tensors)"
    )
    assert read_checkpoint(path, key="netD").state.keys() == {"w"}
    assert read_checkpoint(path, recognised=lambda found: "main.0.weight" in found).key == "model.g.ema"  # ema wins
    assert refusal(path, key="netg") == (
        f"'{path}' has no state dict under --key 'netg'; it has netG, netD, model.g.ema; did you mean 'netG'?"
    )


def test_prefixes_of_wrappers_come_off(tmp_path: Path) -> None:
    torch.save({f"module._orig_mod.{name}": tensor for name, tensor in state().items()}, tmp_path / "a.pt")
    found = read_checkpoint(tmp_path / "a.pt")
    assert found.state.keys() == state().keys()
    assert found.found.stored["main.0.weight"] == "module._orig_mod.main.0.weight"


@pytest.mark.parametrize("form", ["zip", "old", "plain"])
def test_a_pickled_model_is_its_tensors(tmp_path: Path, form: str) -> None:
    """Nothing of its class runs; what its state dict would be is read from its parts."""
    path, module = tmp_path / "whole.pt", dcgan()[0]
    if form == "plain":
        path.write_bytes(pickle.dumps({"G_ema": module, "epoch": 3}))
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the old format looks for the source code of classes
            torch.save(module, path, _use_new_zipfile_serialization=form == "zip")
    found = read_checkpoint(path)
    assert found.state.keys() == module.state_dict().keys()
    assert all(torch.equal(found.state[name], tensor) for name, tensor in module.state_dict().items())
    assert found.module_class == "ganpatch.families.dcgan.DCGANGenerator"
    assert found.key == ("G_ema" if form == "plain" else "")


def test_a_hostile_pickle_does_not_run(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return eval, (f"open({str(tmp_path / 'ran')!r}, 'w')",)

    buffer = io.BytesIO()
    pickle.dump({"w": Hostile()}, buffer, protocol=2)
    path = tmp_path / "hostile.pt"
    torch.save(state(), path)
    with zipfile.ZipFile(path) as good, zipfile.ZipFile(tmp_path / "bad.pt", "w") as bad:
        for name in good.namelist():
            bad.writestr(name, buffer.getvalue() if name.endswith("data.pkl") else good.read(name))
    assert refusal(tmp_path / "bad.pt").endswith("is a pickle that wants to run __builtin__.eval; it is not read")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_a_file_cut_short_is_said_to_be(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"a{suffix}"
    save_file(state(), path) if suffix == ".safetensors" else torch.save(state(), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert str(path) in refusal(path)


def test_files_that_hold_something_else(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pt")
    assert refusal(tmp_path / "list.pt") == f"'{tmp_path / 'list.pt'}' holds no state dict: it is a list"
    torch.save({"epoch": 1}, tmp_path / "dict.pt")
    assert refusal(tmp_path / "dict.pt") == f"'{tmp_path / 'dict.pt'}' holds no state dict: it is a dict of epoch"
    assert refusal(tmp_path / "missing.pt") == f"cannot read '{tmp_path / 'missing.pt'}': no such file or directory"
    (tmp_path / "empty.pt").write_bytes(b"")
    assert "neither safetensors nor a torch checkpoint" in refusal(tmp_path / "empty.pt")


def test_tensors_that_do_not_fit_are_named() -> None:
    module, _ = dcgan()
    wrong = {**state(), "main.0.weight": torch.zeros(1, 2), "extra": torch.zeros(1)}
    del wrong["main.1.bias"]
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(GanpatchError) as fault:
        load_state(module, wrong, "'a.pt'")
    assert str(fault.value) == (
        "'a.pt' does not fit DCGANGenerator: tensors: 1 missing (main.1.bias); 1 unknown (extra); "
        "1 of another shape ('main.0.weight' is [1, 2] and should be [8, 12, 4, 4])"
    )
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_a_checkpoint_keeps_its_shape_when_written(tmp_path: Path) -> None:
    half = {
        f"module.{name}": tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state().items()
    }
    torch.save({"nets": {"netG": half, "netD": {"w": torch.ones(1)}}, "epoch": 3}, tmp_path / "a.pt")
    read = read_checkpoint(tmp_path / "a.pt", key="nets.netG")
    write_checkpoint(
        read, {"main.0.weight": torch.full((8, 12, 4, 4), 0.5, dtype=torch.float64)}, "torch", tmp_path / "b.pt"
    )
    written = torch.load(tmp_path / "b.pt", weights_only=True)
    assert written["epoch"] == 3
    assert torch.equal(written["nets"]["netD"]["w"], torch.ones(1))
    new = written["nets"]["netG"]
    assert list(new) == list(half)
    assert new["module.main.0.weight"].dtype == torch.float16
    assert (new["module.main.0.weight"] == 0.5).all()
    assert torch.equal(new["module.main.3.weight"], half["module.main.3.weight"])


def test_safetensors_keep_their_metadata(tmp_path: Path) -> None:
    save_file(state(), tmp_path / "a.safetensors", metadata={"author": "me"})
    read = read_checkpoint(tmp_path / "a.safetensors")
    write_checkpoint(read, {}, "safetensors", tmp_path / "b.safetensors")
    with safe_open(tmp_path / "b.safetensors", "pt") as file:
        assert file.metadata() == {"author": "me"}
    write_checkpoint(read, {}, "torch", tmp_path / "c.pt")
    assert torch.load(tmp_path / "c.pt", weights_only=True).keys() == state().keys()
