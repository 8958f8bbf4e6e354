"""The documented flow on a real checkpoint from the package registry, through the command line, once."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT

import ganpatch
from ganpatch import Patch
from ganpatch.checkpoint import read_checkpoint
from ganpatch.ranking import Ranking

GANPATCH = str(Path(sys.executable).parent / "ganpatch")


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([GANPATCH, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


def test_from_ranking_to_repaired_onnx(faces: Path, tmp_path: Path) -> None:
    shown = json.loads(run(tmp_path, "layers", str(faces), "--json").stdout)
    assert {"name": "main.5", "kind": "ReLU", "units": 256, "size": [8, 8], "calls": 1} in shown
    run(tmp_path, "rank", str(faces), "--n", "96", "-o", "run")
    run(tmp_path, "flag", "run", "--units", "111,132,140", "--reason", "green smears", "-o", "fix.yaml")
    run(tmp_path, "sample", str(faces), "--patch", "fix.yaml", "--before-after", "--seeds", "0-7", "-o", "pairs.png")
    run(tmp_path, "apply", str(faces), "fix.yaml", "-o", "fixed.tar")
    run(tmp_path, "export", str(faces), "fix.yaml", "-o", "fixed.onnx")
    said = run(tmp_path, "verify", str(faces), "fix.yaml", "fixed.tar", "fixed.onnx", "--seeds", "0-3").stdout
    assert said.count("agrees") == 3
    original, fixed = (
        torch.load(path, weights_only=True, map_location="cpu") for path in (faces, tmp_path / "fixed.tar")
    )
    assert original.keys() == fixed.keys(), "the code that trained it finds what it wrote"
    changed = [name for name, tensor in state(tmp_path / "fixed.tar").items() if not tensor.equal(state(faces)[name])]
    assert changed == ["main.4.weight", "main.4.bias"]
    run(tmp_path, "export", str(faces), "-o", "plain.onnx")
    run(tmp_path, "apply", "plain.onnx", "fix.yaml", "-o", "patched.onnx")
    run(tmp_path, "verify", str(faces), "fix.yaml", "patched.onnx", "--seeds", "0-3")


def state(path: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(path).state


def test_the_ranking_is_what_brute_force_gives(faces: Path, tmp_path: Path) -> None:
    run(tmp_path, "rank", str(faces), "--n", "96", "--layer", "main.5", "-o", "run")
    ranked = Ranking.load(tmp_path / "run").layers["main.5"]
    generator = ganpatch.load(faces)
    kept: list[torch.Tensor] = []
    with ganpatch.layers.hooked(generator.module, {"main.5": lambda y, call: kept.append(y.clone())}):
        for seed in range(0, 96, 8):
            generator.sample(range(seed, seed + 8))
    peaks = torch.cat(kept).amax((2, 3)).T  # [C, N]
    scores, seeds = peaks.topk(12, dim=1)
    assert torch.allclose(torch.as_tensor(np.asarray(ranked.top_scores)), scores, atol=1e-5)
    assert (torch.as_tensor(np.asarray(ranked.top_seeds)) == seeds).float().mean() > 0.99


def test_the_fetched_file_is_the_known_one(faces: Path) -> None:
    known = "0c3b90b138cfc4e8a73310b9fd5ce2a8f1f3a542a037de277412307fcd28771f"
    assert hashlib.sha256(faces.read_bytes()).hexdigest() == known
    assert "--require-hashes" in (ROOT / "tools" / "fetch_faces.py").read_text()


@pytest.mark.parametrize("unit", [300])
def test_a_unit_out_of_range(faces: Path, tmp_path: Path, unit: int) -> None:
    run(tmp_path, "rank", str(faces), "--n", "8", "-o", "run")
    done = subprocess.run([GANPATCH, "flag", "run", "--units", str(unit), "-o", "f.yaml"], cwd=tmp_path, capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 1
    assert "main.5" in done.stderr
    assert "255" in done.stderr
    assert not (tmp_path / "f.yaml").exists()
    assert Patch.load(ROOT / "patches" / "faces.yaml").model.fingerprint.weights == ganpatch.load(faces).fingerprint.weights  # fmt: skip
