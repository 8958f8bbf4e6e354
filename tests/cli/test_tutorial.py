"""The documented flow on a real checkpoint from the package registry, through the command line, once."""

import hashlib
import importlib
import re
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

import ganpatch
from ganpatch import Patch
from ganpatch.generator.layers import hooked
from ganpatch.ranking.result import Ranking
from ganpatch.untrusted.weight_files import read_checkpoint
from tests.support.command_line import right, wrong
from tests.support.shared import ROOT

SHORT = {"--n": "96", "--seeds": "1000-1007"}  # what the tutorial does with hundreds of images
LONG = ("suggest", "evaluate", "review")  # their own tests run them


def test_the_tutorial(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its commands, in their order, from ranking to a repaired ONNX graph and back."""
    monkeypatch.chdir(tmp_path)
    tutorial = importlib.import_module("tools.documentation.draw_tutorial")
    shutil.copy(faces, tmp_path / "faces.tar")
    shown = {}
    for words in tutorial.commands(tutorial.PAGE.read_text()):
        if words[0] not in LONG:
            shown[words[0]] = typed(*(SHORT.get(before, word) for before, word in pairwise(["", *words])))
    assert "main.5   ReLU               256    8x8      1  ranked by default" in shown["layers"]
    assert shown["verify"].count("agrees") == 3
    text = tutorial.PAGE.read_text()
    assert all(line.rstrip() in text for line in shown["layers"].splitlines()), "the page shows what there is"
    assert [tuple(edit.units) for edit in Patch.load("fix.yaml").edits] == [
        tuple(edit.units) for edit in Patch.load(ROOT / "patches" / "faces.yaml").edits
    ]
    original, fixed, back = (
        torch.load(path, weights_only=True, map_location="cpu")
        for path in ("faces.tar", "faces.fixed.tar", "faces.fixed.reverted.tar")
    )
    assert original.keys() == fixed.keys() == back.keys(), "the code that trained it finds what it wrote"
    same = {name for name, tensor in state(tmp_path / "faces.fixed.tar").items() if tensor.equal(state(faces)[name])}
    assert state(faces).keys() - same == {"main.4.weight", "main.4.bias"}
    reverted = state(tmp_path / "faces.fixed.reverted.tar")
    assert all(tensor.equal(reverted[name]) for name, tensor in state(faces).items())
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    found: dict[str, np.ndarray] = {}
    exec(code, found)
    assert found["faces"].shape == (16, 3, 64, 64)


def test_an_exported_graph_is_patched(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    patch = str(ROOT / "patches" / "faces.yaml")
    typed("export", str(faces), "-o", "plain.onnx")
    typed("apply", "plain.onnx", patch, "-o", "patched.onnx")
    typed("verify", str(faces), patch, "patched.onnx", "--seeds", "0-3")


def typed(*words: str) -> str:
    """Run a command; return what it printed."""
    return right(*words).stdout


def state(path: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(path).state


def test_the_ranking_is_what_brute_force_gives(faces: Path, tmp_path: Path) -> None:
    typed("rank", str(faces), "--n", "96", "--layer", "main.5", "-o", str(tmp_path / "run"))
    ranked = Ranking.load(tmp_path / "run").layers["main.5"]
    generator = ganpatch.load(faces)
    kept: list[torch.Tensor] = []
    with hooked(generator.module, {"main.5": lambda y, call: kept.append(y.clone())}):
        for seed in range(0, 96, 8):
            generator.sample(range(seed, seed + 8))
    peaks = torch.cat(kept).amax((2, 3)).T  # [C, N]
    scores, seeds = peaks.topk(12, dim=1)
    assert torch.allclose(torch.as_tensor(np.asarray(ranked.top_scores)), scores, atol=1e-5)
    assert (torch.as_tensor(np.asarray(ranked.top_seeds)) == seeds).float().mean() > 0.99


def test_the_fetched_file_is_the_known_one(faces: Path) -> None:
    known = "0c3b90b138cfc4e8a73310b9fd5ce2a8f1f3a542a037de277412307fcd28771f"
    assert hashlib.sha256(faces.read_bytes()).hexdigest() == known
    assert "--require-hashes" in (ROOT / "tools" / "patches" / "fetch_faces.py").read_text()


def test_a_unit_out_of_range(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    typed("rank", str(faces), "--n", "8", "-o", "run")
    assert wrong("flag", "run", "--units", "300", "-o", "f.yaml") == (
        "error: unit 300 is outside layer 'main.5' (256 units, 0-255)"
    )
    assert not (tmp_path / "f.yaml").exists()


def test_the_shipped_patch_is_for_that_file(faces: Path) -> None:
    patch = Patch.load(ROOT / "patches" / "faces.yaml")
    assert patch.model.fingerprint.weights == ganpatch.load(faces).fingerprint.weights
