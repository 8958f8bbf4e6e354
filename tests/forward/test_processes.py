"""Two processes do what one does, to the bit; one that dies ends the run with its name, and any number resumes it."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch.distributed import HashStore

import ganpatch
from ganpatch import Dissection, GanpatchError, Ranking, rank
from ganpatch.cli import cli
from ganpatch.finding.suggestions import read_suggestions
from ganpatch.forward.processes import Group
from ganpatch.forward.saved_state import partial_of
from ganpatch.ranking.result import read_manifest
from ganpatch.runs.ranking_run import rank_to_folder
from ganpatch.runs.run_folder import PARTIAL, RunFolder
from tests.support.interrupting import StopHere, interrupting
from tests.support.shared import ROOT
from tests.support.together import LAYERS, METHODS, small, work

HERE = ROOT / "tests" / "support"
TOGETHER = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
SLOW = f"{HERE / 'slow.py'}:Slow"
OPTIONS = [SLOW, "--latent", "normal:6", "--layer", "first", "-n", "1000", "--k", "3", "--batch-size", "8", "-o", "run"]
FIELDS = ("top_seeds", "top_scores", "top_maps", "firing_rate", "peak", "q99", "q999")


def started(command: list[str], folder: Path, **environment: str) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(HERE), str(ROOT)])
    given = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(command, cwd=folder, env=given, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def pids(folder: Path, ranks: int) -> list[int]:
    """Wait until so many processes are in their run."""
    paths = [folder / f"{rank}.pid" for rank in range(ranks)]
    until = time.monotonic() + 120
    while not all(path.exists() and path.read_text() for path in paths):
        assert time.monotonic() < until
        time.sleep(0.05)
    found = [int(path.read_text()) for path in paths]
    for path in paths:
        path.unlink()
    return found


def assert_same(one: Ranking, other: Ranking) -> None:
    assert one.layers.keys() == other.layers.keys()
    for layer in one.layers:
        for name in FIELDS:
            assert torch.equal(getattr(one[layer], name), getattr(other[layer], name)), f"{layer} {name}"
        assert torch.allclose(one[layer].mean, other[layer].mean, rtol=1e-6)
    assert one.thumbnails.keys() == other.thumbnails.keys()
    assert all(np.array_equal(one.thumbnails[seed], other.thumbnails[seed]) for seed in one.thumbnails)


def test_two_processes_do_what_one_does(tmp_path: Path) -> None:
    for number in range(10):
        real = tmp_path / "real" / f"{number}.png"
        real.parent.mkdir(exist_ok=True)
        Image.new("RGB", (16, 16), (25 * number, 40, 90)).save(real)
    together = started([*TOGETHER, str(HERE / "together.py"), str(tmp_path / "two")], tmp_path)
    work(tmp_path / "one")
    _, said = together.communicate(timeout=120)
    assert together.returncode == 0, said
    for name in ("rank", "dissect", "few"):
        assert_same(Ranking.load(tmp_path / "one" / name), Ranking.load(tmp_path / "two" / name))
    assert list(Ranking.load(tmp_path / "two" / "rank").layers) == LAYERS
    one, two = (Dissection.load(tmp_path / name / "dissect") for name in ("one", "two"))
    assert one.shares == two.shares
    for name in ("thresholds", "iou", "accuracy"):
        assert torch.equal(getattr(one["maps"], name), getattr(two["maps"], name)), name
    folders = [tmp_path / name / "few" for name in ("one", "two")]
    one_found, two_found = (read_suggestions(folder, read_manifest(folder)) for folder in folders)
    for method in METHODS:
        assert torch.equal(one_found[method].layers["main.5"].score, two_found[method].layers["main.5"].score), method
    tiny = rank(small(), ["main.5"], range(5), k=2)
    assert_same(tiny, Ranking.load(tmp_path / "two" / "tiny"))
    assert sorted(path.name for path in (tmp_path / "two" / "rank").glob("partial*")) == []


def test_a_process_dies_and_one_goes_on_and_is_stopped_and_another_ends_it(tmp_path: Path) -> None:
    together = started([*TOGETHER, "-m", "ganpatch", "rank", *OPTIONS], tmp_path, SLOW_FOLDER=str(tmp_path))
    os.kill(pids(tmp_path, 2)[1], signal.SIGKILL)
    _, said = together.communicate(timeout=120)
    assert together.returncode != 0
    told = "error: process 1 of 2 died; the others stopped\nsaved in 'run'; use --resume to continue, with any number of processes\n"
    assert told in said
    assert said.count("error: process") == 1
    command = [sys.executable, "-m", "ganpatch", "rank", *OPTIONS, "--resume"]
    alone = started(command, tmp_path, SLOW_FOLDER=str(tmp_path))
    os.kill(pids(tmp_path, 1)[0], signal.SIGTERM)
    _, said = alone.communicate(timeout=120)
    assert alone.returncode == 143
    assert "saved in 'run'; use --resume to continue\n" in said
    generator = ganpatch.load(SLOW, latent="normal:6")
    seen: list[int] = []
    found = rank_to_folder(generator, RunFolder(tmp_path / "run", resume=True), ["first"], range(1000), k=3, batch_size=8,
                           progress=lambda done, total: seen.append(done))  # fmt: skip
    assert 8 < seen[0] < 900
    assert_same(found, rank(generator, ["first"], range(1000), k=3, batch_size=8))
    assert sorted(path.name for path in (tmp_path / "run").glob("partial*")) == []


def test_what_every_process_kept_is_joined_once(small_dcgan: ganpatch.Generator, tmp_path: Path) -> None:
    from safetensors.torch import load_file, safe_open, save_file

    def interrupted(after: int) -> Path:
        folder = tmp_path / str(after)
        with pytest.raises(StopHere):
            rank_to_folder(small_dcgan, folder, ["main.5"], range(60), k=4, batch_size=8, progress=interrupting(after))
        return folder / PARTIAL

    less, more = interrupted(16), interrupted(40)
    partial_of(more, 1).write_bytes(less.read_bytes())  # as a kill leaves it between joining and removing
    found = rank_to_folder(small_dcgan, RunFolder(more.parent, resume=True), ["main.5"], range(60), k=4, batch_size=8)
    assert_same(found, rank(small_dcgan, ["main.5"], range(60), k=4, batch_size=8))

    tensors = load_file(less)
    with safe_open(less, "pt") as file:
        about = file.metadata()
    tensors["done"] = tensors["done"].roll(8)
    save_file(tensors, partial_of(less, 3), about)
    with pytest.raises(GanpatchError) as fault:
        rank_to_folder(small_dcgan, RunFolder(less.parent, resume=True), ["main.5"], range(60), k=4, batch_size=8)
    assert str(fault.value) == (
        f"'{partial_of(less, 3)}' is broken; remove it to start over: what it holds was done twice"
    )


def test_one_process_tells_how_it_ended() -> None:
    store = HashStore()
    first, second = Group(0, 2, store), Group(1, 2, store)
    assert [group.is_teller() for group in (second, first)] == [True, False]
    assert Group().is_teller()


def test_a_process_that_is_gone_is_told_from_one_that_left() -> None:
    store = HashStore()
    first, second = Group(0, 2, store), Group(1, 2, store)
    assert first.lost() == []
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    store.set("process/1", f"elsewhere {dead.pid}")
    assert first.lost() == [], "of another machine nothing is known"
    store.set("process/1", f"{socket.gethostname()} {dead.pid}")
    assert first.lost() == [1]
    second.leave(well=False)
    assert first.lost() == []
    assert first.loss([1]) == "process 1 of 2 died; the others stopped"
    assert first.loss([]) == "a process on another machine died; the others stopped"


def test_progress_is_that_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganpatch.forward.processes._TELL", -1.0)
    store, shown = HashStore(), list[int]()
    counts = [Group(rank, 2, store).counting(lambda done, total: shown.append(done)) for rank in range(2)]
    for process, done in ((0, 8), (1, 8), (1, 16), (0, 16), (0, 0)):  # the next method begins
        counts[process](done, 100)
    assert shown == [8, 32, 16]


def test_other_commands_run_alone() -> None:
    refused = CliRunner().invoke(cli, ["layers"], obj=Group(0, 2))
    assert str(refused.exception) == "'ganpatch layers' runs in one process; several are for rank, dissect, suggest"
