"""What a command imports before its work begins: help, completion and patch files need no torch."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from ganpatch.cli import cli
from ganpatch.cli.commands import COMMANDS

HEAVY = ("torch", "torchvision", "torchmetrics", "onnx", "onnxscript", "onnxruntime", "numpy", "PIL", "fastapi")
# One process for many commands: after each, what it printed and which heavy modules are there.
WATCHED = f"""
import contextlib, io, json, os, sys
asked, found = json.load(sys.stdin), []
import ganpatch.cli
for words, environment in asked:
    os.environ.update(environment)
    sys.argv = ["ganpatch", *words]
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            ganpatch.cli.main()
        except SystemExit as end:
            code = end.code
    found.append([code or 0, out.buffer.getvalue().decode(), err.getvalue(), sorted(set({HEAVY}) & set(sys.modules))])
print(json.dumps(found))
"""
ROOT = Path(__file__).resolve().parents[2]
PATCH = str(ROOT / "patches" / "churches.yaml")
Words = tuple[str, ...]


def commands(command: click.Command, *words: str) -> Iterator[Words]:
    yield words
    for name, child in command.commands.items() if isinstance(command, click.Group) else ():
        yield from commands(child, *words, name)


def started(folder: Path, *asked: Words, **environment: str) -> list[tuple[Words, list[str], str]]:
    """Run `ganpatch WORDS` for each in a new process; return the words, the heavy modules that were imported, stdout."""
    command = [sys.executable, "-c", WATCHED]
    given = json.dumps([(words, environment) for words in asked])
    done = subprocess.run(command, input=given, capture_output=True, text=True, cwd=folder, check=True)
    found = json.loads(done.stdout)
    assert [(words, err) for words, (code, _, err, _) in zip(asked, found, strict=True) if code] == []
    return [(words, heavy, out) for words, (_, out, _, heavy) in zip(asked, found, strict=True)]


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    for words, heavy, shown in started(tmp_path, *((*words, "--help") for words in commands(cli))):
        assert heavy == [], words
        assert shown.startswith(" ".join(["Usage: ganpatch", *words[:-1]])), words


def test_patch_files_need_nothing_heavy(tmp_path: Path) -> None:
    asked = [
        ("--version",),
        ("completion", "zsh"),
        ("patch", "check", PATCH),
        ("patch", "show", PATCH),
        ("patch", "diff", PATCH, PATCH),
        ("patch", "merge", PATCH, "-o", "merged.yaml"),
        ("patch", "schema"),
    ]
    assert [(words, heavy) for words, heavy, _ in started(tmp_path, *asked)] == [(words, []) for words in asked]


@pytest.mark.parametrize(
    "line", ["ganpatch ", "ganpatch rank --", "ganpatch suggest --by ", "ganpatch flag . --layer "]
)
def test_completion_imports_nothing_heavy(tmp_path: Path, line: str) -> None:
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1), "_GANPATCH_COMPLETE": "bash_complete"}
    assert started(tmp_path, (), **asked)[0][1] == []


def test_a_command_that_loads_a_model_imports_torch_and_no_onnx(tmp_path: Path) -> None:
    """The watch above can fail."""
    ((_, heavy, _),) = started(tmp_path, ("layers", "churches"))
    assert heavy == ["PIL", "numpy", "torch"]


def test_the_table_names_what_each_command_does() -> None:
    for name, command in cli.commands.items():
        assert command.name == name
        assert command.callback is not None or isinstance(command, click.Group)
    assert all(line.endswith(".") and len(line) <= 66 for line in COMMANDS.values())
