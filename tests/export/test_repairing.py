"""The repaired file: the shape of the original, equal to the hooks, nothing half-written."""

import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import ganpatch
from ganpatch import GanpatchError, Generator, Patch, applied, repair
from tests.support.nets import dcgan

EDIT = {"layer": "main.5", "channels": 8, "units": [0, 3]}


def entries(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    module, _ = dcgan()
    path = tmp_path / "model.pt"
    torch.save({"netG": module.state_dict(), "optimizer": {"lr": 0.1}, "epoch": 7}, path)
    return path


def test_the_original_code_loads_the_repaired_file(source: Path, make_patch: Callable[..., Patch]) -> None:
    generator = ganpatch.load(source)
    patch = make_patch(generator, EDIT)
    content = source.read_bytes()
    result = repair(generator, patch, source=source, output=source.with_name("model.fixed.pt"))
    assert source.read_bytes() == content
    assert entries(source.parent) == ["model.fixed.pt", "model.fixed.pt.backup", "model.pt"]
    stored = torch.load(result.path, weights_only=True)
    assert stored["epoch"] == 7
    assert stored["optimizer"] == {"lr": 0.1}
    module, _ = dcgan()
    module.load_state_dict(stored["netG"])
    args, _ = generator.inputs(range(5))
    with applied(generator.module, patch), torch.no_grad():
        wanted = generator.module(*args)
    with torch.no_grad():
        assert (module(*args) - wanted).abs().max() <= 1e-6
    assert result.difference <= 1e-6
    changed = [
        name for name, tensor in stored["netG"].items() if not torch.equal(tensor, dcgan()[0].state_dict()[name])
    ]
    assert changed == ["main.4.weight", "main.4.bias"]


def test_other_formats_and_dtypes(tmp_path: Path, make_patch: Callable[..., Patch]) -> None:
    half = {name: t.half() if t.is_floating_point() else t for name, t in dcgan()[0].state_dict().items()}
    save_file(half, tmp_path / "half.safetensors", metadata={"author": "me"})
    generator = ganpatch.load(tmp_path / "half.safetensors")
    patch = make_patch(generator, {**EDIT, "alpha": 0.3})
    repair(generator, patch, source=tmp_path / "half.safetensors", output=tmp_path / "fixed.safetensors")
    assert {t.dtype for t in load_file(tmp_path / "fixed.safetensors").values()} == {torch.float16, torch.int64}
    repair(generator, patch, source=tmp_path / "half.safetensors", output=tmp_path / "fixed.pth")
    assert torch.load(tmp_path / "fixed.pth", weights_only=True).keys() == half.keys()


def test_an_edit_that_weights_cannot_hold_writes_nothing(source: Path, make_patch: Callable[..., Patch]) -> None:
    generator = ganpatch.load(source)
    with pytest.raises(GanpatchError, match="cannot bake"):
        repair(
            generator, make_patch(generator, {**EDIT, "above": 1.0}), source=source, output=source.with_name("out.pt")
        )
    assert entries(source.parent) == ["model.pt"]


def test_the_input_is_never_overwritten(source: Path, make_patch: Callable[..., Patch]) -> None:
    generator = ganpatch.load(source)
    content = source.read_bytes()
    with pytest.raises(GanpatchError, match="an input is never overwritten"):
        repair(generator, make_patch(generator, EDIT), source=source, output=source.parent / "." / "model.pt")
    assert source.read_bytes() == content


def test_a_file_that_does_not_equal_the_hooks_does_not_appear(
    source: Path, make_patch: Callable[..., Patch], monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = ganpatch.load(source)
    save = torch.save

    def spoil(content: dict[str, dict[str, torch.Tensor]], path: Path) -> None:
        content["netG"]["main.4.bias"] = content["netG"]["main.4.bias"] + 0.1
        save(content, path)

    monkeypatch.setattr(torch, "save", spoil)
    with pytest.raises(GanpatchError, match="'.*out.pt' is not written: it differs from the hooks by"):
        repair(generator, make_patch(generator, EDIT), source=source, output=source.with_name("out.pt"))
    assert entries(source.parent) == ["model.pt"]


def test_a_full_disk_leaves_nothing(
    source: Path, make_patch: Callable[..., Patch], monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch ends the process with its own words, or none, when what it writes into refuses."""
    generator = ganpatch.load(source)
    count = 0

    class Full(io.FileIO):
        def write(self, content: Any) -> int:
            nonlocal count
            count += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def opened(path: Path, mode: str = "r", *more: Any, **options: Any) -> Any:
        return Full(path, "w") if mode == "wb" else open(path, mode, *more, **options)

    monkeypatch.setattr(Path, "open", opened)
    output = source.with_name("out.pt")
    with pytest.raises(GanpatchError) as fault:
        repair(generator, make_patch(generator, EDIT), source=source, output=output)
    assert str(fault.value) == f"cannot write '{output}': no space left on device"
    assert count == 1
    assert entries(source.parent) == ["model.pt"]


def test_an_unknown_kind_of_file(small_dcgan: Generator, source: Path, make_patch: Callable[..., Patch]) -> None:
    with pytest.raises(GanpatchError) as fault:
        repair(small_dcgan, make_patch(small_dcgan, EDIT), source=source, output=source.with_name("out.safetensor"))
    assert str(fault.value).endswith(
        "a repaired file ends in .safetensors, .pt, .pth, .tar, .ckpt, .bin, .ts, .pt2, .onnx; did you mean '.safetensors'?"
    )
