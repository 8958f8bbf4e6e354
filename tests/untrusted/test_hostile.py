"""Files that were made to harm: nothing in them runs, they take little memory and time, and they stay in their place.

SECURITY.md names these tests; each file here did harm once, or would where the check is missing.
"""

import io
import json
import os
import pickle
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import save_file

import ganpatch
from ganpatch import GanpatchError, Patch, rank
from ganpatch.cli import cli
from ganpatch.disk.locks import locked
from ganpatch.export.onnx_patching import graph_layers, patch_onnx
from ganpatch.generator.input_files import given_inputs, read_latent
from ganpatch.generator.latents import parse_labels, parse_latent
from ganpatch.number_ranges import parse_spans
from ganpatch.pages.image_grids import read_mask
from ganpatch.ranking.result import Ranking, read_manifest
from ganpatch.untrusted.exported_programs import load_program, load_script
from ganpatch.untrusted.nvlabs_pickles import read_networks
from ganpatch.untrusted.weight_files import read_checkpoint
from tests.support.bounded import refusal
from tests.support.conformance import Fixture
from tests.support.fuzz_targets import make_graph, make_patch, make_program, make_run, make_script
from tests.support.nets import dcgan
from tests.support.shared import ROOT, once

GIGA = 10**10


def state() -> dict[str, torch.Tensor]:
    return dict(dcgan()[0].state_dict())


# ---- patches ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "name: !!python/object/apply:os.system ['touch ran']",
        "!!python/object/new:os.system ['touch ran']",
        "evidence: !!python/name:os.system ''",
        "{edits: [{layer: !!python/module:os }]}",
    ],
)
def test_a_patch_runs_nothing(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("fix.yaml").write_text(f"format: ganpatch/1\n{text}\n")
    with pytest.raises(GanpatchError, match="fix.yaml"):
        Patch.load("fix.yaml")
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "- " * 100_000,
        "{a: " * 50_000,
        "a: &a [x, x]\n" + "".join(f"b{i}: &b{i} [*a, *a, *a, *a]\n" for i in range(1000)),
        "evidence: {n: " + "9" * 100_000 + "}",
        "x" * 3_000_000,
    ],
    ids=lambda text: text[:8],
)
def test_a_patch_takes_little_time_and_memory(text: str, tmp_path: Path) -> None:
    (tmp_path / "fix.yaml").write_text(text)
    assert "fix.yaml" in refusal(lambda: Patch.load(tmp_path / "fix.yaml"))


@pytest.mark.parametrize("place", ["../fix.safetensors", "/etc/passwd.safetensors", "C:\\x.safetensors", "a/../../fix.safetensors", "pipe.safetensors"])  # fmt: skip
def test_masks_stand_beside_their_patch(place: str, tmp_path: Path) -> None:
    make_patch(tmp_path)
    os.mkfifo(tmp_path / "pipe.safetensors")
    text = (tmp_path / "fix.yaml").read_text()
    (tmp_path / "fix.yaml").write_text(text.replace("fix.safetensors#b", f"{place}#b"))
    said = refusal(lambda: Patch.load(tmp_path / "fix.yaml"))
    assert "leaves the patch's folder" in said or "is missing" in said


def test_a_patch_does_not_overwrite_weights_of_its_name(tmp_path: Path) -> None:
    make_patch(tmp_path)
    patch = Patch.load(tmp_path / "fix.yaml")
    save_file(state(), tmp_path / "model.safetensors")
    before = (tmp_path / "model.safetensors").read_bytes()
    with pytest.raises(GanpatchError, match=r"model.safetensors' exists, and holds no masks of .*model.yaml'"):
        patch.save(tmp_path / "model.yaml")
    assert (tmp_path / "model.safetensors").read_bytes() == before
    patch.save(tmp_path / "fix.yaml")


# ---- weights ------------------------------------------------------------------------------------------------------


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch ran",)


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
        with pytest.raises(GanpatchError, match="wants to run .*system|holds no network"):
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
    assert "c.pkl" in refusal(lambda: read_networks(tmp_path / "c.pkl"))


def test_an_archive_that_unpacks_to_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    torch.save(state(), tmp_path / "ok.pt")
    with zipfile.ZipFile(tmp_path / "ok.pt") as source, zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as target:  # fmt: skip
        for name in source.namelist():
            target.writestr(name, source.read(name))
        target.writestr("ok/data/99", bytes(100_000_000))
    said = refusal(lambda: read_checkpoint(tmp_path / "a.pt"))
    assert "bytes and says that it unpacks to 100," in said


def _prefixed(good: bytes) -> bytes:
    return b"PK\x03\x04 another archive" + good


def _with_comment(good: bytes) -> bytes:
    return good[:-2] + struct.pack("<H", len(good)) + good


def _twice(good: bytes) -> bytes:
    content = io.BytesIO(good)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(content, "a") as archive:
        archive.writestr(archive.namelist()[0], b"\x80\x02}.")
    return content.getvalue()


def _overlapping(good: bytes) -> bytes:
    """Let two entries of the directory lead to the same place."""
    content = bytearray(good)
    first = content.index(b"PK\x01\x02")
    second = content.index(b"PK\x01\x02", first + 4)
    content[second + 42 : second + 46] = content[first + 42 : first + 46]
    return bytes(content)


def _named(name: str) -> Callable[[bytes], bytes]:
    def change(good: bytes) -> bytes:
        content = io.BytesIO(good)
        with zipfile.ZipFile(content, "a") as archive:
            archive.writestr(name, b"x")
        return content.getvalue()

    return change


@pytest.mark.parametrize(
    "change",
    [_prefixed, _with_comment, _twice, _overlapping, *map(_named, ("ok/../../x", "/etc/x", "ok\\x", "other/data.pkl", "x"))],
    ids=lambda change: change.__name__,
)  # fmt: skip
def test_an_archive_with_two_meanings_is_refused(change: Callable[[bytes], bytes], tmp_path: Path) -> None:
    torch.save(state(), tmp_path / "ok.pt")
    (tmp_path / "a.pt").write_bytes(change((tmp_path / "ok.pt").read_bytes()))
    with pytest.raises(GanpatchError, match=r"a\.pt"):
        read_checkpoint(tmp_path / "a.pt")


def _deep() -> dict[str, torch.Tensor]:
    """Thirty layers that double the size of an image, of sixteen numbers each."""
    layers: dict[str, torch.Tensor] = {"main.0.weight": torch.ones(2, 1, 4, 4)}
    for place in range(1, 31):
        layers[f"main.{2 * place}.weight"] = torch.ones(1, 3 if place == 30 else 1, 4, 4)
    return layers


def _numbered() -> dict[str, torch.Tensor]:
    fixture = Fixture.read(ROOT / "tests" / "families" / "checkpoints" / "rosinality.json").state()
    return {name.replace("noise_1", "noise_999999999").replace("convs.1.", "convs.888888888."): t for name, t in fixture.items()}  # fmt: skip


@pytest.mark.parametrize("made", [_deep, _numbered], ids=lambda made: made.__name__)
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


# ---- programs and graphs ------------------------------------------------------------------------------------------


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
        code = next(name for name in entries if name.endswith("dcgan.py"))
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
    for read in (lambda: graph_layers(path), lambda: patch_onnx(path, patch, folder / "out.onnx")):
        said = refusal(read)
        assert "leaves its folder" in said or "cannot read" in said
    assert not (folder / "out.onnx").exists()


def test_a_graph_that_claims_large_tensors_takes_no_memory(programs: Path, tmp_path: Path) -> None:
    model = onnx.load(programs / "a.onnx")
    for dims in ([GIGA], [10**6, 10**6], [2**62, 4]):
        model.graph.initializer[0].dims[:] = dims
        onnx.save(model, tmp_path / "a.onnx")
        assert "and should have" in refusal(lambda: graph_layers(tmp_path / "a.onnx"))


# ---- run folders, pictures, numbers -------------------------------------------------------------------------------


def png(width: int, height: int) -> bytes:
    """Write a picture that claims a size, in sixty bytes."""
    made = b"\x89PNG\r\n\x1a\n"
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    for kind, content in ((b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")):
        made += struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    return made


def test_a_small_picture_takes_little_memory(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    path = tmp_path / "photos" / "a.png"
    for size in ((30_000, 30_000), (2**31 - 1, 2**31 - 1), (12_000, 12_000)):
        path.write_bytes(png(*size))
        drawn = given_inputs(tmp_path / "photos", read_latent("images:3,16,16"), (-1, 1))
        for read in (lambda: read_mask(path, (8, 8)), lambda drawn=drawn: drawn.row(torch.Generator())):
            said = refusal(read)
            assert "pixels are more than" in said or "decompression bomb" in said


def test_a_picture_is_what_pillow_reads_by_itself(tmp_path: Path) -> None:
    """Pillow starts Ghostscript for a file that begins like this one."""
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(ran) (w) file\n")
    with pytest.raises(GanpatchError, match="cannot identify image file"):
        read_mask(tmp_path / "a.png", (8, 8))


def test_a_run_folder_takes_little_memory(tmp_path: Path) -> None:
    make_run(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    changes: list[Mapping[str, Any]] = [
        {"seeds": "0-999999999999"},
        {"seeds": ",".join(f"{i}000000-{i}999999" for i in range(1, 40))},
        {"k": 9_999_999},
        {"layers": {"main.5": {"units": 9_999_999, "size": [8, 8], "map_size": [9_999_999, 9_999_999]}}},
        {"thumbnails": {**manifest["thumbnails"], "height": 9_999_999, "width": 9_999_999}},
    ]
    for change in changes:
        (tmp_path / "manifest.json").write_text(json.dumps({**manifest, **change}))
        assert refusal(lambda: Ranking.load(tmp_path))
    (tmp_path / "manifest.json").write_text("[" * 1_000_000)
    assert "manifest.json" in refusal(lambda: Ranking.load(tmp_path))


def test_numbers_and_heads_take_no_memory(tmp_path: Path) -> None:
    for read in (
        lambda: parse_spans("0-999999999999", what="seed"),
        lambda: parse_spans("1-4999999,5000000-5000002", what="seed") and parse_spans("0-9999999,5", what="seed"),
        lambda: parse_latent("normal:999999,999999,999999"),
        lambda: parse_labels("onehot:9999999"),
    ):
        assert refusal(read)
    np.save(tmp_path / "rows.npy", np.ones((6, 4), np.float32))
    content = (tmp_path / "rows.npy").read_bytes()
    (tmp_path / "rows.npy").write_bytes(content.replace(b"(6, 4)", b"(9999999999, 4)").replace(b" " * 9, b"", 1))
    assert "rows.npy" in refusal(lambda: given_inputs(tmp_path / "rows.npy", parse_latent("normal:4"), (-1, 1)))
    head = b'{"z":{"dtype":"F32","shape":[99999999999,4],"data_offsets":[0,1599999999984]}}'
    (tmp_path / "rows.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + bytes(16))
    assert "rows.safetensors" in refusal(lambda: given_inputs(tmp_path / "rows.safetensors", None, (-1, 1)))
    tracemalloc.start()
    assert len(parse_spans("0-9999999", what="seed")) == 10_000_000
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("name", ["fix.yaml", "model.pt", "model.onnx", "model.safetensors", "run/manifest.json"])
def test_a_pipe_is_no_file(name: str, tmp_path: Path) -> None:
    """Reading one would wait for ever."""
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    os.mkfifo(path)
    read: Callable[[], object] = {"fix.yaml": lambda: Patch.load(path), "run/manifest.json": lambda: read_manifest(path.parent)}.get(name, lambda: ganpatch.load(path))  # fmt: skip
    assert "pipe" in refusal(read) or "is not a run folder" in refusal(read) or "it is neither" in refusal(read)


# ---- what is written ------------------------------------------------------------------------------------------------


def test_links_are_replaced_and_not_followed(tmp_path: Path) -> None:
    """A folder that somebody sent has links where ganpatch writes: nothing outside changes."""
    (tmp_path / "run").mkdir()
    precious = tmp_path / "precious"
    precious.write_text("mine")
    module, latent = dcgan()
    for name in ("manifest.json", "ranking.safetensors", "thumbs-000.png", "index.html", "partial.safetensors"):
        (tmp_path / "run" / name).symlink_to(precious)
    rank(ganpatch.load(module, latent=latent), ["main.5"], range(4), k=2).save(tmp_path / "run")
    make_patch(tmp_path / "run")
    for name in ("fix.yaml", "fix.safetensors"):
        (tmp_path / name).symlink_to(precious)
    precious.write_text("fix.safetensors# mine")
    Patch.load(tmp_path / "run" / "fix.yaml").save(tmp_path / "fix.yaml")
    assert precious.read_text() == "fix.safetensors# mine"
    (tmp_path / "run" / ".lock").symlink_to(precious)
    with pytest.raises(GanpatchError, match=r"cannot write '.*\.lock'"), locked(tmp_path / "run"):
        pass
    assert precious.read_text() == "fix.safetensors# mine"


def test_text_from_a_file_moves_no_cursor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    save_file({"\x1b]0;title\x07\x1b[2J": torch.ones(1)}, "a.safetensors")
    monkeypatch.setattr("sys.argv", ["ganpatch", "layers", "a.safetensors"])
    with pytest.raises(SystemExit):
        ganpatch.cli.main()
    Path("fix.yaml").write_text('format: ganpatch/1\n"\\e[2J": 1\n')
    monkeypatch.setattr("sys.argv", ["ganpatch", "patch", "check", "fix.yaml"])
    with pytest.raises(SystemExit):
        ganpatch.cli.main()
    said = "".join(capfd.readouterr())
    assert "\\x1b" in said
    assert "\x1b[2J" not in said
    assert "\x1b]0" not in said


def test_only_settings_of_the_working_folder_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They can name code, which a folder from somebody else must not bring along; in the working folder they do."""
    work, theirs = tmp_path / "above" / "work", tmp_path / "theirs"
    for folder in (work, theirs):
        folder.mkdir(parents=True)
        save_file(state(), folder / "model.safetensors")
    settings = '[model]\npath = "model.safetensors"\narch = "evil.py:make"\n'
    for folder in (work.parent, theirs):
        (folder / "evil.py").write_text(f"import os; os.mkdir({str(tmp_path / 'ran')!r})\n")
        (folder / "ganpatch.toml").write_text(settings)
    monkeypatch.chdir(work)
    for model in ("model.safetensors", theirs / "model.safetensors"):
        ganpatch.load(model)
        assert not (tmp_path / "ran").exists()
    monkeypatch.chdir(theirs)
    with pytest.raises(GanpatchError):
        ganpatch.load()
    assert (tmp_path / "ran").exists()


# ---- what runs code, and says so ------------------------------------------------------------------------------------


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
