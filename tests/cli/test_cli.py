"""The command line the way people use it: right, wrong, and with typos. No traceback ever."""

import datetime
import json
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import ganpatch
from ganpatch import Patch, applied
from ganpatch.cli import cli
from ganpatch.export.file_runners import open_onnx
from tests.support.command_line import right, run, wrong
from tests.support.nets import dcgan
from tests.support.shared import patch_for

GANPATCH = str(Path(sys.executable).parent / "ganpatch")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a checkpoint of a small DCGAN."""
    monkeypatch.chdir(tmp_path)
    torch.save({"netG": dcgan()[0].state_dict(), "epoch": 1}, tmp_path / "model.pt")
    return tmp_path


def entries(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_the_whole_way(folder: Path) -> None:
    """rank -> flag -> look -> apply -> export, each step reading what the one before wrote."""
    ranked = right("rank", "model.pt", "--n", "60", "-o", "run", "--json")
    assert json.loads(ranked.stdout)["layers"] == {"main.5": 8}
    assert "layer main.5 (8 units at 8x8) by default; choose another with --layer" in ranked.stderr
    assert "open run/index.html in a browser" in ranked.stderr
    assert entries(folder / "run") == [
        "index.html",
        "layer-0.js",
        "manifest.json",
        "origin.json",
        "ranking.safetensors",
        "thumbs-000.png",
    ]
    right("flag", "run", "--units", "1,3-4", "--reason", "smeared", "-o", "fix.yaml")
    right("sample", "model.pt", "--patch", "fix.yaml", "--before-after", "--seeds", "0-5", "-o", "pairs.png")
    right("sample", "model.pt", "--seeds", "0-5", "-o", "grid.jpg", "--columns", "3")
    with Image.open("grid.jpg") as grid:
        assert grid.size == (3 * 18 - 2, 2 * 18 - 2)
    applied_ = right("apply", "model.pt", "fix.yaml")
    assert "main.4.bias, main.4.weight" in applied_.stdout
    assert "repaired model in model.fixed.pt" in applied_.stderr
    exported = right("export", "model.pt", "fix.yaml", "-o", "fixed.onnx")
    assert "onnxruntime and torch differ by at most" in exported.stderr

    generator, patch = ganpatch.load("model.pt"), Patch.load("fix.yaml")
    args, _ = generator.inputs(range(4))
    with applied(generator.module, patch), torch.no_grad():
        wanted = generator.module(*args)
    fixed = ganpatch.load("model.fixed.pt")
    with torch.no_grad():
        assert (fixed.module(*args) - wanted).abs().max() < 1e-6
    assert (open_onnx(Path("fixed.onnx")).run(args) - wanted).abs().max() < 1e-5
    onnx.checker.check_model("fixed.onnx")


def test_a_dry_run_writes_nothing(folder: Path) -> None:
    right("rank", "model.pt", "--n", "8", "-o", "run")
    right("flag", "run", "--units", "1", "-o", "fix.yaml")
    right("export", "model.pt", "-o", "model.onnx")
    before = entries(folder)
    graph = json.loads(right("apply", "model.onnx", "fix.yaml", "--dry-run", "--json").stdout)
    assert graph["written"] is None
    assert [edit["outcome"] for edit in graph["edits"]] == ["folded"]
    done = right("apply", "model.pt", "fix.yaml", "--dry-run", "--json")
    assert json.loads(done.stdout) == {
        "written": None,
        "edits": [
            {"edit": "main-5-1", "layer": "main.5", "outcome": "folded", "where or why": "main.4.bias, main.4.weight"}
        ],
    }
    assert "nothing is written (--dry-run)" in done.stderr
    assert entries(folder) == before


def test_verify_revert_and_graphs(folder: Path) -> None:
    """What was repaired is verified, a wrong file is seen, and the way back is bit for bit."""
    patch_for(ganpatch.load("model.pt"), {"layer": "main.5", "channels": 8, "units": [3]}).save("fix.yaml")
    right("apply", "model.pt", "fix.yaml", "-o", "fixed.pt")
    right("export", "model.pt", "-o", "plain.onnx")
    patched = right("apply", "plain.onnx", "fix.yaml", "-o", "fixed.onnx", "--json")
    assert json.loads(patched.stdout)["edits"][0]["outcome"] == "folded"
    agreed = right("verify", "model.pt", "fix.yaml", "fixed.pt", "fixed.onnx")
    assert agreed.stdout.count("agrees") == 3
    assert agreed.stderr.strip() == "all agree"
    differing = run("verify", "model.pt", "fix.yaml", "fixed.pt", "plain.onnx", "--json")
    assert differing.returncode == 1
    report = json.loads(differing.stdout)
    assert [one["largest"] > one["tolerance"] for one in report["candidates"]] == [False, True, False]
    assert (
        wrong("apply", "fixed.pt", "fix.yaml", "-o", "x.pt") == "error: patch 'test' is already applied to 'fixed.pt'"
    )
    assert wrong("revert", "fixed.onnx").startswith("error: 'fixed.onnx' is an ONNX graph, which can hold inserted")
    assert wrong("revert", "model.pt") == "error: 'model.pt' holds no patch of ganpatch"
    right("revert", "fixed.pt", "-o", "back.pt")
    before, back = (torch.load(path, weights_only=True) for path in ("model.pt", "back.pt"))
    assert back["epoch"] == 1
    assert all(tensor.equal(back["netG"][name]) for name, tensor in before["netG"].items())
    listed = {layer["name"]: layer["units"] for layer in json.loads(right("layers", "fixed.onnx", "--json").stdout)}
    assert listed["main.5"] == 8
    right("rank", "fixed.onnx", "--n", "8", "-o", "graph-run")


def test_layers(folder: Path) -> None:
    done = right("layers", "model.pt", "--json")
    assert {
        "name": "main.3",
        "kind": "ConvTranspose2d",
        "units": 8,
        "size": [8, 8],
        "calls": 1,
        "tokens": [],
    } in json.loads(done.stdout)
    assert "ranked by default" in next(
        line for line in right("layers", "model.pt").stdout.splitlines() if "main.5" in line
    )


def test_several_layers_and_settings(folder: Path) -> None:
    (folder / "ganpatch.toml").write_text('[model]\npath = "model.pt"\n[rank]\nlayers = ["main.2"]\n')
    assert list(json.loads(right("rank", "--n", "8", "--json", "-o", "a").stdout)["layers"]) == ["main.2"]
    both = right("rank", "--n", "8", "--json", "-o", "b", "--layer", "main.5", "--layer", "main.2")
    assert list(json.loads(both.stdout)["layers"]) == ["main.5", "main.2"]
    assert "no MODEL given: using model" in both.stderr


def test_patches_as_files(folder: Path) -> None:
    right("rank", "model.pt", "--n", "8", "-o", "run")
    right("flag", "run", "--units", "1", "--reason", "sky", "-o", "a.yaml", "--description", "a sky")
    right("flag", "run", "--units", "2", "-o", "b.yaml")
    assert right("patch", "check", "a.yaml", "b.yaml").stderr.strip() == "2 patches are right"
    shown = right("patch", "show", "a.yaml").stdout
    assert "a, for model: a sky" in shown
    assert "1 of 8" in shown
    assert json.loads(right("patch", "show", "a.yaml", "--json").stdout)["edits"][0]["units"] == [1]
    differing = run("patch", "diff", "a.yaml", "b.yaml")
    assert differing.returncode == 1
    assert differing.stdout.splitlines() == [
        "- main.5 units 1: alpha 1.0, value 0.0",
        "+ main.5 units 2: alpha 1.0, value 0.0",
    ]
    assert run("patch", "diff", "a.yaml", "a.yaml").returncode == 0
    right("patch", "merge", "a.yaml", "b.yaml", "-o", "both.yaml")
    assert [edit.id for edit in Patch.load("both.yaml").edits] == ["main-5-1", "main-5-1-2"]
    assert json.loads(right("patch", "schema").stdout)["title"] == "Patch"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["rank", "modle.pt"],
            "error: model 'modle.pt' not found: not a bundled name (churches), no such file, not file.py:factory; did you mean 'model.pt'?",
        ),
        (
            ["apply", "modle.pt", "right.yaml"],
            "error: model 'modle.pt' not found: not a bundled name (churches), no such file, not file.py:factory; did you mean 'model.pt'?",
        ),
        (
            ["layers", "modle.pt"],
            "error: model 'modle.pt' not found: not a bundled name (churches), no such file, not file.py:factory; did you mean 'model.pt'?",
        ),
        (
            ["rank", "model.pt", "--layer", "main.55"],
            "error: layer 'main.55' not found in DCGANGenerator; did you mean 'main.5'?",
        ),
        (
            ["rank", "model.pt", "--n", "4", "-o", "model.pt/run"],
            "error: cannot write 'model.pt/run/.lock': not a directory",
        ),
        (
            ["rank", "model.pt", "--key", "netg"],
            "error: 'model.pt' has no state dict under --key 'netg'; it has netG; did you mean 'netG'?",
        ),
        (
            ["rank", "model.pt", "--latent", "normal:9"],
            "error: model: a forward pass with inputs [2, 9] fails: Given transposed=1, weight of size [8, 12, 4, 4], expected input[2, 9, 1, 1] to have 8 channels, but got 9 channels instead; is --latent normal:9 right, and does it take --labels?",
        ),
        (
            ["rank", "model.pt", "--range", "1,1"],
            "error: model: the output range (1.0, 1.0) is empty; give it as low,high",
        ),
        (
            ["flag", ".", "--units", "3", "-o", "f.yaml"],
            "error: '.' is not a finished run; if it was interrupted, repeat its command (rank, dissect or cause) with --resume",
        ),
        (["sample", "model.pt", "-o", "grid.gif"], "error: 'grid.gif': a picture ends in .png, .jpg, .jpeg, .webp"),
        (["patch", "check", "missing.yaml"], "error: cannot read 'missing.yaml': no such file or directory"),
        (
            ["layers", "net.py:Net"],
            "error: net.py:Net: its latent is not known; say what it takes: --latent normal:100, --latent normal:100,1,1 or --latent uniform:-1,1:100; 'ganpatch init' tries to find out",
        ),
    ],
)
def test_what_cannot_be_done_is_one_clear_message(folder: Path, arguments: list[str], message: str) -> None:
    (folder / "net.py").write_text("from torch import nn\nclass Net(nn.Identity): pass\n")
    patch_for(ganpatch.load("model.pt"), {"layer": "main.5", "channels": 8, "units": [3]}).save("right.yaml")
    before = entries(folder)
    assert wrong(*arguments) == message
    assert entries(folder) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rnak"], "No such command 'rnak'"),
        (["rank", "--lyaer", "x"], "No such option"),
        (
            ["sample", "model.pt", "--seeds", "5-3", "-o", "g.png"],
            "seeds '5-3': the range 5-3 runs backwards; write 3-5",
        ),
        (["sample", "model.pt", "--before-after", "-o", "g.png"], "--before-after needs --patch"),
        (["rank", "model.pt", "--arch-arg", "nz"], "'nz' is not NAME=VALUE"),
        (["rank", "model.pt", "--range", "a,b"], "'a,b' is not LOW,HIGH, for example -1,1"),
        (["export", "a.pt", "b.pt", "-o", "c.onnx"], "give one model and one patch, not a.pt b.pt"),
        (["rank", "--score", "median"], "'median' is not one of 'max', 'mean', 'q99'"),
    ],
)
def test_usage_errors_exit_with_2(folder: Path, arguments: list[str], message: str) -> None:
    assert message in wrong(*arguments, code=2)


def test_broken_checkpoints_and_patches(folder: Path) -> None:
    content = (folder / "model.pt").read_bytes()
    (folder / "cut.pt").write_bytes(content[: len(content) // 2])
    assert wrong("rank", "cut.pt").startswith("error: 'cut.pt' is not a whole archive, it may be cut short")
    torch.save({"when": datetime.date(2026, 1, 1)}, "empty.pt")
    assert wrong("rank", "empty.pt") == "error: 'empty.pt' holds no state dict: it is a dict of when (datetime.date)"
    right("rank", "model.pt", "--n", "8", "-o", "run")
    right("flag", "run", "--units", "1", "-o", "fix.yaml")
    text = Path("fix.yaml").read_text()
    Path("twice.yaml").write_text(text + "name: twice\n")
    assert wrong("apply", "model.pt", "twice.yaml") == (
        f"error: twice.yaml: $.name: the key is listed twice, on lines 2 and {text.count(chr(10)) + 1} (line 2)"
    )
    other = dcgan()[0]
    with torch.no_grad():
        other.get_parameter("main.0.weight").mul_(1.5)
    torch.save(other.state_dict(), "other.pt")
    assert "error: patch 'fix' is for other weights: model " in wrong("apply", "other.pt", "fix.yaml")
    assert not Path("other.fixed.pt").exists()
    right("apply", "other.pt", "fix.yaml", "--allow-other-weights")


INTERRUPTING = """
import os, signal
from tests.support.nets import dcgan

def make():
    module, _ = dcgan()
    forward, passes = module.forward, []
    def counted(z):
        passes.append(z)
        if len(passes) == 12:
            os.kill(os.getpid(), signal.SIGINT)
        return forward(z)
    module.forward = counted
    return module
"""


def test_an_interrupted_ranking_is_kept_and_resumed(folder: Path) -> None:
    (folder / "net.py").write_text(INTERRUPTING)
    cut = run("rank", "net.py:make", "--latent", "normal:8,1,1", "--n", "200", "--batch-size", "8", "-o", "run")
    assert cut.returncode == 130
    assert "saved in 'run'; use --resume to continue" in cut.stderr
    assert "Traceback" not in cut.stderr
    assert entries(folder / "run") == ["partial.safetensors"]
    assert wrong("rank", "model.pt", "--n", "200", "-o", "run") == (
        "error: 'run' has an interrupted run; use --resume to continue or --overwrite to start over"
    )
    assert wrong("rank", "model.pt", "--n", "64", "-o", "run", "--resume").startswith(
        "layer main.5 (8 units at 8x8) by default; choose another with --layer"
    )
    assert wrong("review", "run").startswith(
        "error: 'run' is not a finished run; if it was interrupted, repeat its command"
    )
    right("rank", "model.pt", "--n", "64", "-o", "run", "--overwrite")


def test_a_full_disk(folder: Path) -> None:
    """A limit on the size of files simulates a disk with no room."""
    limited = f"ulimit -f 8; {GANPATCH} sample model.pt --seeds 0-255 -o big.png"
    done = subprocess.run(["bash", "-c", limited], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == "error: cannot write 'big.png': file too large"
    assert entries(folder) == ["model.pt"]


def test_version_and_help() -> None:
    installed = subprocess.run([GANPATCH, "--version"], capture_output=True, text=True, check=True).stdout
    assert installed == right("--version").stdout
    assert right("--version").stdout.strip() == f"ganpatch {ganpatch.__version__}"
    assert "Repair a trained image generator" in right("--help").stdout


def test_every_command_has_an_example() -> None:
    runner = CliRunner()
    for name, command in cli.commands.items():
        children = getattr(command, "commands", {None: command})
        for child in children:
            words = [name, child] if child else [name]
            text = runner.invoke(cli, [*words, "--help"]).output
            assert f"ganpatch {' '.join(words)}" in text.partition("\n")[2], words


def test_an_unexpected_fault_is_no_traceback(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_model: object, **_options: object) -> None:
        raise RuntimeError("boom\nmore")

    monkeypatch.setattr("ganpatch.export.listing.list_model_layers", broken)
    assert wrong("layers", "model.pt") == (
        "error: internal error (a bug in ganpatch; please report it): RuntimeError: boom\n"
        "GANPATCH_TRACEBACK=1 shows where"
    )
    monkeypatch.setenv("GANPATCH_TRACEBACK", "1")
    with pytest.raises(RuntimeError, match="boom"):
        run("layers", "model.pt")
