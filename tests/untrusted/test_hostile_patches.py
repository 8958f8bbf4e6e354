"""Patches that were made to harm: nothing in them runs, they take little memory and time, and stay in their folder.

SECURITY.md names these tests; each file here did harm once, or would where the check is missing.
"""

import os
from pathlib import Path

import pytest
from safetensors.torch import save_file

from ganpatch import GanpatchError, Patch
from tests.support.bounded import refusal
from tests.support.hostile_files import state
from tests.support.own_files import make_patch


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
    with pytest.raises(GanpatchError, match=r"model.safetensors' exists and is not the masks file of .*model.yaml'"):
        patch.save(tmp_path / "model.yaml")
    assert (tmp_path / "model.safetensors").read_bytes() == before
    patch.save(tmp_path / "fix.yaml")
