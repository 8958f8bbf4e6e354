"""Completion scripts: what Tab gives in bash, and that every command and option is in all of them."""

import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ganpatch import Generator, rank
from ganpatch.cli import cli
from ganpatch.cli.completion_scripts import SHELLS, completion_script

ANSWER = """
source {script}
COMP_WORDS=({words})
COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
_ganpatch
printf '%s\\n' "${{COMPREPLY[@]}}"
"""

CASES = [
    (("ra",), {"rank"}),
    (("patch", "me"), {"merge"}),
    (("completion", ""), set(SHELLS)),
    (("rank", "--score", ""), {"max", "mean", "q99"}),
    (("suggest", "--by", "r"), {"rarity"}),
    (("patch", "remove", "--by", ""), {"alpha", "ace", "iou"}),
    (("rank", "--la"), {"--layer", "--latent", "--labels"}),
    (("rank", "m"), {"model.pt", "my model.onnx"}),
    (("rank", "ch"), {"churches"}),
    (("rank", "n"), set()),
    (("patch", "check", ""), {"fix.yaml", "run", "tools"}),
    (("apply", "model.pt", "f"), {"fix.yaml"}),
    (("flag", "r"), {"run"}),
    (("flag", "run", "--layer", ""), {"main.2", "main.5"}),
    (("rank", "-o", "n"), {"notes.txt"}),
    (("rank", "rank", "--mo"), set()),
]


@pytest.fixture(scope="module")
def folder(small_dcgan: Generator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files of several kinds, a run of two layers, and the script."""
    place = tmp_path_factory.mktemp("completion")
    rank(small_dcgan, ["main.2", "main.5"], range(8), k=2).save(place / "run")
    for name in ("model.pt", "my model.onnx", "fix.yaml", "notes.txt"):
        (place / name).touch()
    (place / "script").write_text(completion_script("bash", cli))
    return place


def answers(folder: Path, *words: str) -> set[str]:
    """Return what bash would offer for the last of `words`; PATH is empty but for sed, so no Python can be started."""
    tools = folder / "tools"
    if not tools.exists():
        tools.mkdir()
        (tools / "sed").symlink_to("/usr/bin/sed" if os.path.exists("/usr/bin/sed") else "/bin/sed")
    text = ANSWER.format(script=folder / "script", words=shlex.join(["ganpatch", *words]))
    command = ["/bin/bash", "--norc", "-c", text]
    done = subprocess.run(command, cwd=folder, env={"PATH": str(tools)}, capture_output=True, text=True)
    assert done.stderr == ""
    return set(done.stdout.splitlines()) - {""}


def commands(command: click.Command, *words: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield words, command
    for name, child in (command.commands if isinstance(command, click.Group) else {}).items():
        yield from commands(child, *words, name)


@pytest.mark.parametrize(("words", "expected"), CASES, ids=[" ".join(words) for words, _ in CASES])
def test_what_tab_gives(folder: Path, words: tuple[str, ...], expected: set[str]) -> None:
    assert answers(folder, *words) == expected


def test_every_command_gives_its_options(folder: Path) -> None:
    for words, command in commands(cli):
        wanted = {name for one in command.params for name in one.opts if name.startswith("--")}
        assert answers(folder, *words, "--") >= wanted, words


@pytest.mark.parametrize("shell", SHELLS)
def test_every_script_knows_every_command_and_option(shell: str) -> None:
    done = CliRunner().invoke(cli, ["completion", shell])
    assert done.exit_code == 0
    for words, command in commands(cli):
        assert all(word in done.output for word in words)
        for one in command.params:
            for name in one.opts if isinstance(one, click.Option) else ():
                shown = f"-l {name[2:]} " if shell == "fish" and name.startswith("--") else name
                assert shown in done.output or (shell != "fish" and not name.startswith("--")), (words, name)


def test_a_shell_that_is_not_known() -> None:
    done = CliRunner().invoke(cli, ["completion", "tcsh"])
    assert done.exit_code == 2
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'" in done.output
