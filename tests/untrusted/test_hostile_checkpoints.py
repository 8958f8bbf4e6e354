"""Checkpoints that were made to harm: nothing that a pickle names runs, and a few bytes take little memory."""

import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import ganpatch
from ganpatch import GanpatchError
from ganpatch.cli import cli
from ganpatch.untrusted.weight_files import read_checkpoint
from tests.support.bounded import refusal
from tests.support.conformance import Fixture
from tests.support.hostile_files import Evil
from tests.support.shared import ROOT


def zipped(pickled: bytes, path: Path, **entries: bytes) -> None:
    """Write an archive as torch does, with this pickle in it."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", pickled)
        archive.writestr("a/version", b"3\n")
        for name, content in entries.items():
            archive.writestr(f"a/data/{name}", content)


def legacy(pickled: bytes, path: Path) -> None:
    """Write a file as torch did before 1.6."""
    head = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True, "protocol_version": 1001, "type_sizes": {}})
    path.write_bytes(b"".join(pickle.dumps(part, protocol=2) for part in head) + pickled)


def network(pickled: bytes, path: Path) -> None:
    """Write what is taken for a pickle of NVlabs', by its first bytes."""
    path.write_bytes(b"\x80\x04ctorch_utils.persistence\n_reconstruct_persistent_obj\n0" + pickled[2:])


@pytest.mark.parametrize("write", [zipped, legacy, network], ids=lambda write: write.__name__)
@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
def test_nothing_that_a_pickle_names_runs(write: Any, protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    pickled = pickle.dumps({"w": Evil()}, protocol=protocol)
    write(pickled if write is not network else b"\x80\x02" + pickled.removeprefix(b"\x80" + bytes([protocol])), Path("a.pt"))  # fmt: skip
    for read in (read_checkpoint, ganpatch.load):
        with pytest.raises(GanpatchError, match="wants to run .*system; it is not read"):
            read(Path("a.pt"))
    assert not Path("ran").exists()


def test_names_that_are_known_are_not_called_as_one_likes(tmp_path: Path) -> None:
    """Constructors of plain values do nothing else, and no function or class is changed."""
    state_of_function = b"\x80\x02c_codecs\nencode\n}(X\x01\x00\x00\x00aK\x01ub."
    zipped(state_of_function, tmp_path / "a.pt")
    with pytest.raises(GanpatchError, match="it gives a state to a function"):
        read_checkpoint(tmp_path / "a.pt")
    zipped(b"\x80\x02cbuiltins\nstr\n(X\x01\x00\x00\x00at\x81.", tmp_path / "a.pt")
    with pytest.raises(GanpatchError, match="a.pt"):
        read_checkpoint(tmp_path / "a.pt")


def doubling(start: bytes, step: bytes, times: int) -> bytes:
    return b"\x80\x02" + start + step * times


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def storage(count: int, key: str = "0") -> bytes:
    """Refer to a tensor's memory of so many numbers."""
    number = pickle.dumps(count, protocol=2)[2:-1]
    return b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text(key) + text("cpu") + number + b"tQ"


def tensor(count: int, size: bytes, stride: bytes, key: str = "0") -> bytes:
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage(count, key) + b"K\x00" + size + stride + b"\x89}tR"


BOMBS: dict[str, bytes] = {
    "memory of a terabyte": b"\x80\x02}" + text("w") + tensor(10**12, b"K\x01\x85", b"K\x01\x85") + b"s.",
    "a tensor larger than its memory": b"\x80\x02}" + text("w") + tensor(1, b"J\xff\xff\xff\x7f\x85", b"K\x00\x85") + b"s.",
    "a tensor behind its memory": b"\x80\x02}" + text("w") + b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage(1) + b"J\xff\xff\xff\x7fK\x01\x85K\x01\x85\x89}tR" + b"s.",
    "negative strides": b"\x80\x02}" + text("w") + tensor(1, b"K\x01\x85", b"J\xff\xff\xff\xff\x85") + b"s.",
    "memory described twice": b"\x80\x02}" + text("v") + tensor(1, b"K\x01\x85", b"K\x01\x85") + b"s" + text("w") + tensor(10**9, b"K\x01\x85", b"K\x01\x85") + b"s.",
    "bytearray(n)": b"\x80\x02cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.",
    "ndarray(n)": b"\x80\x02cnumpy\nndarray\nJ\xff\xff\xff\x7f\x85\x85R.",
    "Tensor(n)": b"\x80\x02ctorch\nTensor\nJ\xff\xff\xff\x7f\x85R.",
    "a place in the memo far away": b"\x80\x02}r\xff\xff\xff\xff.",
    "a long frame": b"\x80\x04\x95" + struct.pack("<Q", 1 << 40) + b"}.",
    "a long text": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 40) + b"x.",
    "long bytes": b"\x80\x05\x96" + struct.pack("<Q", 1 << 34) + b"x.",
    "hex of hex of hex": doubling(b"c_codecs\nencode\nq\x01" + text("aaaa"), text("hex") + b"\x86q\x02h\x01h\x02R", 1) + b".",
    "a key of pairs of pairs": b"\x80\x02}K\x01K\x02\x86" + b"2\x86" * 64 + b"K\x01s.",
    "text of lists of lists": b"\x80\x02cbuiltins\nstr\n](K\x01K\x01e" + b"2\x86" * 64 + b"\x85R.",
    "sets of pairs of pairs": b"\x80\x02cbuiltins\nset\n](K\x01K\x02\x86" + b"2\x86" * 64 + b"e\x85R.",
    "dtype of gigabytes": b"\x80\x02cnumpy\ndtype\n" + text("V2000000000") + b"\x85R.",
    "names that share one memory": b"\x80\x02}(" + b"".join(text(f"w{i}") + tensor(10_000, b"M\x10\x27\x85", b"K\x01\x85") for i in range(3_000)) + b"u.",
    "mappings within mappings": b"\x80\x02}(" + text("a") + b"K\x01uq\x00" + b"".join(b"}(" + b"".join(text(f"{i}") + b"h" + bytes([n]) for i in range(300)) + b"uq" + bytes([n + 1]) for n in range(6)) + b".",
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_checkpoint_takes_little_memory_and_time(name: str, tmp_path: Path) -> None:
    content = BOMBS[name]
    zipped(content, tmp_path / "a.pt", **{"0": bytes(40_000 if "share" in name else 4)})
    assert "a.pt" in refusal(lambda: read_checkpoint(tmp_path / "a.pt"))
    legacy(content, tmp_path / "b.pt")
    assert "b.pt" in refusal(lambda: read_checkpoint(tmp_path / "b.pt"))
    network(content, tmp_path / "c.pkl")
    assert "c.pkl" in refusal(lambda: read_checkpoint(tmp_path / "c.pkl"))


def _deep() -> dict[str, torch.Tensor]:
    """Thirty layers that double the size of an image, of sixteen numbers each."""
    layers: dict[str, torch.Tensor] = {"main.0.weight": torch.ones(2, 1, 4, 4)}
    for place in range(1, 31):
        layers[f"main.{2 * place}.weight"] = torch.ones(1, 3 if place == 30 else 1, 4, 4)
    return layers


def _numbered() -> dict[str, torch.Tensor]:
    fixture = Fixture.read(ROOT / "tests" / "families" / "checkpoints" / "rosinality.json").state()
    return {name.replace("noise_1", "noise_999999999").replace("convs.1.", "convs.888888888."): t for name, t in fixture.items()}  # fmt: skip


def _sequence() -> dict[str, torch.Tensor]:
    fixture = Fixture.read(ROOT / "tests" / "families" / "checkpoints" / "taesd-midblock.json").state()
    return {name.replace("10.conv", "999999999.conv"): t for name, t in fixture.items()}


@pytest.mark.parametrize("made", [_deep, _numbered, _sequence], ids=lambda made: made.__name__)
def test_sizes_in_names_and_shapes_take_no_memory(made: Callable[[], dict[str, torch.Tensor]], tmp_path: Path) -> None:
    save_file(made(), tmp_path / "a.safetensors")
    assert refusal(lambda: ganpatch.load(tmp_path / "a.safetensors"))


def test_sizes_in_a_configuration_take_no_memory(tmp_path: Path) -> None:
    fixture = Fixture.read(ROOT / "tests" / "families" / "checkpoints" / "diffusers-kl.json")
    save_file(fixture.state(), tmp_path / "model.safetensors")
    for name in fixture.config:
        config = {**fixture.config, name: [10**9] * 4 if isinstance(fixture.config[name], list) else 10**9}
        (tmp_path / "config.json").write_text(json.dumps(config))
        try:
            ganpatch.load(tmp_path)
        except GanpatchError:
            assert refusal(lambda: ganpatch.load(tmp_path))
    (tmp_path / "config.json").write_text("[" * 100_000)
    assert "is not JSON" in refusal(lambda: ganpatch.load(tmp_path))


def test_a_pickled_model_runs_only_when_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"w": Evil()}, "a.pt")
    Path("ganpatch.toml").write_text('[model]\npath = "a.pt"\ntrust_pickle = true\n')
    with pytest.raises(GanpatchError, match="trust_pickle is not a setting"):
        ganpatch.load()
    Path("ganpatch.toml").unlink()
    for command in cli.commands.values():
        for option in command.params:
            if option.name == "trust_pickle":
                assert option.default is not True
    with pytest.raises(GanpatchError):
        ganpatch.load("a.pt")
    assert not Path("ran").exists()
    with pytest.raises(GanpatchError):
        ganpatch.load("a.pt", trust_pickle=True)
    assert Path("ran").exists(), "the file is one that runs"
