"""Exported programs, TorchScript and ONNX graphs that were made to harm."""

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

from ganpatch import GanpatchError, Patch, load
from ganpatch.export.onnx_patching import list_onnx_layers, patch_onnx
from ganpatch.export.patch_record import read_record
from ganpatch.untrusted.exported_programs import load_program, load_script
from tests.support.bounded import refusal
from tests.support.hostile_files import Evil
from tests.support.model_files import make_graph, make_program, make_script
from tests.support.shared import once

GIGA = 10**10


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program, a script and a graph, made once for all processes."""
    return once(
        tmp_path_factory, "programs", lambda folder: [make(folder) for make in (make_program, make_script, make_graph)]
    )


def rewritten(source: Path, target: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """Write an archive again with other entries."""
    with zipfile.ZipFile(source) as archive:
        root = archive.namelist()[0].partition("/")[0]
        entries = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in entries.items():
            archive.writestr(f"{root}/{name}", content)
    return target


def in_model(change: Callable[[str], str]) -> Callable[[dict[str, bytes]], None]:
    def apply(entries: dict[str, bytes]) -> None:
        entries["models/model.json"] = change(entries["models/model.json"].decode()).encode()

    return apply


def _entry(name: str, content: bytes) -> Callable[[dict[str, bytes]], None]:
    return lambda entries: entries.update({name: content})


def _config(path: str, **fields: Any) -> bytes:
    payload = {"path_name": path, "is_param": False, "use_pickle": False, "tensor_meta": None, **fields}
    return json.dumps({"config": {"c": payload}}).encode()


def _torch(content: Any) -> bytes:
    made = io.BytesIO()
    torch.save(content, made)
    return made.getvalue()


CALL = "__import__('os').system('touch ran')"

SPELT = "__import__(chr(111)+chr(115)).system(" + "+".join(f"chr({ord(letter)})" for letter in "touch ran") + ")"

META = {"dtype": 7, "sizes": [{"as_int": GIGA}], "strides": [{"as_int": 0}], "storage_offset": {"as_int": 0}, "requires_grad": False, "device": {"type": "cpu", "index": None}, "layout": 7}  # fmt: skip

PROGRAMS: dict[str, Callable[[dict[str, bytes]], None]] = {
    "an operator by any name": in_model(lambda text: text.replace("torch.ops.aten.relu_.default", "torch.os.system")),
    "an operator that opens files": in_model(lambda text: text.replace("aten.relu_.default", "aten.from_file.default")),
    "an expression": in_model(lambda text: text.replace("\"expr_str\": \"Symbol('", f'"expr_str": "{CALL}+Symbol(\'')),
    "an expression without end": in_model(lambda text: text.replace("Symbol('", "9**9**9**9+Symbol('")),
    "a name that is code": in_model(lambda text: text.replace('"z"', f'"z={SPELT}"')),
    "a type by name": in_model(lambda text: text.replace("builtins.tuple", "os.system")),
    "an enum of any module": in_model(lambda text: text.replace('\\"context\\": \\"null\\"', '\\"context\\": \\"{\\\\\\"__enum__\\\\\\": true, \\\\\\"fqn\\\\\\": \\\\\\"antigravity:x\\\\\\"}\\"')),
    "weights of the old kind": _entry("data/weights/model.pt", _torch({"w": Evil()})),
    "constants of the old kind": _entry("data/constants/model.pt", _torch({"w": Evil()})),
    "pickled inputs": _entry("data/sample_inputs/model.pt", _torch((Evil(),))),
    "a pickled constant": _entry("data/constants/model_constants_config.json", _config("tensor_0", use_pickle=True)),
    "an object": lambda entries: entries.update({"data/constants/model_constants_config.json": _config("opaque_obj_0"), "data/constants/opaque_obj_0": pickle.dumps(Evil())}),
    "an object of C++": lambda entries: entries.update({"data/constants/model_constants_config.json": _config("custom_obj_0"), "data/constants/custom_obj_0": b"x"}),
    "compiled code": _entry("data/aotinductor/model/x.so", b"\x7fELF"),
    "the format before": lambda entries: entries.update({"serialized_state_dict.pt": _torch({"w": Evil()}), "version": b"8.20"}),
    "a tensor larger than its memory": lambda entries: entries.update({"data/constants/model_constants_config.json": _config("tensor_0", tensor_meta=META), "data/constants/tensor_0": b""}),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_exported_program_runs_nothing(name: str, programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    before: dict[str, bytes] = {}
    rewritten(programs / "a.pt2", Path("same.pt2"), before.update)
    path = rewritten(programs / "a.pt2", Path("a.pt2"), PROGRAMS[name])
    assert path.read_bytes() != Path("same.pt2").read_bytes()
    assert "a.pt2" in refusal(lambda: load_program(path).module(torch.randn(2, 8, 1, 1)))
    assert not Path("ran").exists()


@pytest.mark.parametrize("line", ["torch.save(z, 'ran')", "torch.from_file('ran', True, 10)", "ops.image.write_file('ran', z)", "torch.\\\n    from_file('ran')"])  # fmt: skip
def test_torchscript_reaches_no_files(line: str, programs: Path, tmp_path: Path) -> None:
    def change(entries: dict[str, bytes]) -> None:
        code = next(name for name, content in entries.items() if b"    main = self.main\n" in content)
        entries[code] = entries[code].replace(b"    main = self.main\n", f"    {line}\n    main = self.main\n".encode())
        assert line.encode() in entries[code]

    path = rewritten(programs / "a.ts", tmp_path / "a.ts", change)
    with pytest.raises(GanpatchError, match="which is more than arithmetic; it is not loaded"):
        load_script(path)
    assert load_script(programs / "a.ts").state_dict()


def external(source: Path, target: Path, location: str) -> Path:
    model = onnx.load(source)
    (first, *_) = model.graph.initializer
    first.ClearField("raw_data")
    first.data_location = onnx.TensorProto.EXTERNAL
    first.external_data.add(key="location", value=location)
    onnx.save(model, target)
    return target


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "link", "pipe", "", "a/../../secret", "missing"])
def test_a_graph_takes_tensors_from_its_own_folder_only(location: str, programs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "graph"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(100_000))
    (folder / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(folder / "pipe")
    path = external(programs / "a.onnx", folder / "a.onnx", location)
    patch = Patch.load(programs / "fix.yaml")
    for read in (lambda: list_onnx_layers(path), lambda: patch_onnx(path, patch, folder / "out.onnx")):
        said = refusal(read)
        assert "leaves its folder" in said or "cannot read" in said
    assert not (folder / "out.onnx").exists()


def test_a_graph_that_claims_large_tensors_takes_no_memory(programs: Path, tmp_path: Path) -> None:
    model = onnx.load(programs / "a.onnx")
    for dims in ([GIGA], [10**6, 10**6], [2**62, 4]):
        model.graph.initializer[0].dims[:] = dims
        onnx.save(model, tmp_path / "a.onnx")
        assert "and should have" in refusal(lambda: list_onnx_layers(tmp_path / "a.onnx"))


@pytest.mark.parametrize("text", [b"ganpatch.latent", b"normal:8,1,1", b"main.0.weight"])
def test_a_graph_with_texts_that_are_not_utf8_is_refused(programs: Path, text: bytes, tmp_path: Path) -> None:
    """Protobuf returns such a text as bytes."""
    path, content = tmp_path / "a.onnx", (programs / "a.onnx").read_bytes()
    changed = b"\xff" + text[1:]
    path.write_bytes(content.replace(text, changed))
    for read in (list_onnx_layers, load, read_record):
        said = refusal(lambda read=read: read(path))  # type: ignore[misc]
        assert said.startswith(f"'{path}' is not a readable ONNX file: ")
        assert said.endswith(f"{changed!r} is not UTF-8")
