"""Folders that were made to harm: runs, pictures, numbers, pipes, links, settings, text for a terminal."""

import json
import os
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import ganpatch
from ganpatch import GanpatchError, Patch, rank
from ganpatch.disk.locks import locked
from ganpatch.generator.input_files import given_inputs, read_latent
from ganpatch.generator.latents import parse_labels, parse_latent
from ganpatch.number_ranges import parse_spans
from ganpatch.pages.image_grids import read_mask
from ganpatch.ranking.result import Ranking, read_manifest
from tests.support.bounded import refusal
from tests.support.hostile_files import state
from tests.support.nets import dcgan
from tests.support.own_files import make_patch, make_run


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
