"""What a command imports before its work begins: help, completion and patch files need no torch."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from ganpatch.cli import cli
from ganpatch.cli.table import COMMANDS

HEAVY = ("torch", "torchvision", "torchmetrics", "onnx", "onnxscript", "onnxruntime", "numpy", "PIL", "fastapi")
WATCHED = f"""
import atexit, os, pathlib, sys
atexit.register(lambda: pathlib.Path(os.environ["SEEN"]).write_text(" ".join(set({HEAVY}) & set(sys.modules))))
import ganpatch.cli
ganpatch.cli.main()
"""
ROOT = Path(__file__).resolve().parents[2]
PATCH = str(ROOT / "patches" / "churches.yaml")


def commands(command: click.Command, *words: str) -> Iterator[tuple[str, ...]]:
    yield words
    for name, child in command.commands.items() if isinstance(command, click.Group) else ():
        yield from commands(child, *words, name)


def started(folder: Path, *words: str, **environment: str) -> tuple[set[str], str]:
    """Run `ganpatch words` in a process of its own; return which heavy modules it imported, and its stdout."""
    seen = folder / "seen"
    around = {**os.environ, **environment, "SEEN": str(seen)}
    command = [sys.executable, "-c", WATCHED, *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=around, check=False)
    assert done.returncode == 0, done.stderr
    return set(seen.read_text().split()), done.stdout


@pytest.mark.parametrize("words", list(commands(cli)), ids=lambda words: " ".join(words) or "ganpatch")
def test_help_imports_nothing_heavy(tmp_path: Path, words: tuple[str, ...]) -> None:
    heavy, shown = started(tmp_path, *words, "--help")
    assert heavy == set()
    assert shown.startswith(" ".join(["Usage: ganpatch", *words]))


@pytest.mark.parametrize(
    "words",
    [
        ("--version",),
        ("completion", "zsh"),
        ("patch", "check", PATCH),
        ("patch", "show", PATCH),
        ("patch", "diff", PATCH, PATCH),
        ("patch", "merge", PATCH, "-o", "merged.yaml"),
        ("patch", "schema"),
    ],
    ids=" ".join,
)
def test_patch_files_need_nothing_heavy(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert started(tmp_path, *words)[0] == set()


@pytest.mark.parametrize(
    "line", ["ganpatch ", "ganpatch rank --", "ganpatch suggest --by ", "ganpatch flag . --layer "]
)
def test_completion_imports_nothing_heavy(tmp_path: Path, line: str) -> None:
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1), "_GANPATCH_COMPLETE": "bash_complete"}
    assert started(tmp_path, **asked)[0] == set()


def test_a_command_that_loads_a_model_is_seen_to_import_torch(tmp_path: Path) -> None:
    """The watch above can fail."""
    assert "torch" in started(tmp_path, "layers", "churches")[0]


def test_the_table_names_what_each_command_does() -> None:
    for name, command in cli.commands.items():
        assert command.name == name
        assert command.callback is not None or isinstance(command, click.Group)
    assert all(line.endswith(".") and len(line) <= 66 for line in COMMANDS.values())
