"""Spoilt files of every kind, some of each: only GanpatchError comes out, within a gigabyte and ten seconds each."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from ganpatch import GanpatchError
from ganpatch.errors import explained
from tests.support.fuzz_targets import TARGETS
from tests.support.fuzzing import Target, TooMuch, attempt, quiet
from tests.support.mutations import Dice, spoilt
from tests.support.shared import ROOT

EXAMPLES = "25"
MODELS = ("weights", "network", "program", "script", "graph", "graph-run", "repaired", "family")


@pytest.mark.parametrize("targets", [MODELS, tuple(name for name in TARGETS if name not in MODELS)], ids=["models", "others"])  # fmt: skip
def test_only_ganpatch_errors_come_out(targets: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "tools.robustness.fuzz", "--examples", EXAMPLES, *targets]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout + done.stderr
    counts = [line for line in done.stdout.splitlines() if "different answers" in line]
    assert len(counts) == len(targets), done.stdout


@pytest.mark.parametrize("name", TARGETS)
def test_files_that_are_not_spoilt_are_read_to_the_end(name: str, tmp_path: Path) -> None:
    """A target whose valid files are refused tests its first reader only."""
    target = TARGETS[name]
    with quiet():
        target.make(tmp_path)
        target.read(tmp_path)


def test_a_fault_is_found(tmp_path: Path) -> None:
    """What must not come out of reading a file does come out of the attempt; the file is put back."""

    def make(folder: Path) -> None:
        (folder / "a.json").write_text('{"a": 1}')

    def stumble(folder: Path) -> None:
        raise KeyError("a")

    def want_memory(folder: Path) -> None:
        with explained("'a.json' is broken"):
            raise MemoryError

    def refuse(folder: Path) -> None:
        raise GanpatchError("'a.json' is broken")

    make(tmp_path)
    with pytest.raises(KeyError):
        attempt(Target(make=make, read=stumble, files=("a.json",)), tmp_path, b"\x00\x01")
    with pytest.raises(TooMuch):
        attempt(Target(make=make, read=want_memory, files=("a.json",)), tmp_path, b"\x00\x01")
    assert attempt(Target(make=make, read=refuse, files=("a.json",)), tmp_path, b"\x00\x01") == "'a.json' is broken"
    assert (tmp_path / "a.json").read_text() == '{"a": 1}'


def test_files_are_spoilt_in_many_ways() -> None:
    content = b'{"a": [1, 2, {"b": "text"}], "c": null}'
    source = random.Random(0)
    found = {spoilt("x.json", content, Dice(source.randbytes(12))) for _ in range(300)}
    assert len(found) > 200
    assert spoilt("x.json", content, Dice(b"\x05\x03")) == spoilt("x.json", content, Dice(b"\x05\x03"))
