"""What Tab offers, in a real bash and a real zsh too, where names from a stranger's files run nothing."""

import fcntl
import json
import os
import pty
import select
import subprocess
import sys
import termios
import time
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete, get_completion_class
from click.testing import CliRunner

from ganpatch.cli import cli
from ganpatch.cli.commands import COMMANDS
from ganpatch.cli.completing import VARIABLE, is_safe
from ganpatch.cli.completion import SHELLS
from ganpatch.option_values import GENERATORS, METHODS, ORDERS, SCORES

HOSTILE = [
    "$(touch pwned)", "`touch pwned`", "a;touch pwned", "a&touch pwned&", "a|touch pwned", "a>pwned", "a\ntouch pwned\n",
    "${x:=`touch pwned`}", "'a'$(touch pwned)", "a b", "\x1b]0;owned\x07", "\x1b[2J", "a\rb", "a\u202eb", "a\x00b", "*",
    "~", "=ls", "--overwrite", "-o", "{a,b}", "!!", "a\\", '"', "", "a" * 300,
]  # fmt: skip
CASES = [
    (("ra",), {"rank"}),
    (("patch", "me"), {"merge"}),
    (("completion", ""), set(SHELLS)),
    (("rank", "--score", ""), set(SCORES)),
    (("suggest", "--by", "r"), {"rarity"}),
    (("patch", "remove", "--by", ""), set(ORDERS)),
    (("rank", "--la"), {"--layer", "--latent", "--labels"}),
    (("rank", "m"), {"model.pt"}),
    (("rank", "ch"), set(GENERATORS)),
    (("patch", "check", "f"), {"fix.yaml"}),
    (("apply", "model.pt", "f"), {"fix.yaml"}),
    (("flag", "run", "--layer", ""), {"main.5"}),
    (("flag", "run", "--suggested", ""), {"spike", "set-1"}),
    (("flag", "elsewhere", "--suggested", ""), {*METHODS, "sets"}),
    (("patch", "remove", "--from", "causes", "--concept", ""), {"tree"}),
    (("rank", "--layer", ""), {"main.2"}),
    (("rank", "--mo"), set()),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as a stranger would prepare it; one name of each kind is an ordinary one."""
    monkeypatch.chdir(tmp_path)
    content = {
        "run/manifest.json": {"layers": {name: {} for name in [*HOSTILE, "main.5"]}},
        "run/suggestions.json": {
            "methods": {name: {} for name in [*HOSTILE, "spike"]},
            "sets": [{"name": "set-1"}, "set-2", {"name": 3}, *({"name": name} for name in HOSTILE)],
        },
        "run/dissection.json": {"layers": HOSTILE, "concepts": HOSTILE},
        "causes/causes.json": {"layer": HOSTILE[0], "concepts": {name: {} for name in [*HOSTILE, "tree"]}},
    }
    for name, found in content.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(found))
    layers = ", ".join(json.dumps(name) for name in [*HOSTILE, "main.2"])
    (tmp_path / "ganpatch.toml").write_text(f"[rank]\nlayers = [{layers}]\n")
    for name in ("model.pt", "fix.yaml", "notes.txt", "w$(touch pwned).pt", "w;touch pwned;.yaml"):
        (tmp_path / name).touch()
    return tmp_path


def offered(*words: str) -> list[tuple[str, str]]:
    """Return what is offered for the last of `words`: kind and value."""
    *before, last = words
    found = ShellComplete(cli, {}, "ganpatch", VARIABLE).get_completions(before, last)
    return [(item.type, item.value) for item in found]


@pytest.mark.parametrize(("words", "expected"), CASES, ids=[" ".join(words) for words, _ in CASES])
def test_what_is_offered(folder: Path, words: tuple[str, ...], expected: set[str]) -> None:
    found = offered(*words)
    assert {value for _, value in found} == expected
    assert {kind for kind, _ in found} <= {"plain"}


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (("rank", "w"), "file"),  # a name that is not safe: the shell quotes it
        (("rank", ""), "file"),
        (("rank", "-o", ""), "file"),
        (("patch", "check", "r"), "file"),  # there may be patches in a folder
        (("flag", "r"), "dir"),
        (("review", ""), "dir"),
    ],
    ids=str,
)
def test_what_the_shell_completes_itself(folder: Path, words: tuple[str, ...], kind: str) -> None:
    assert offered(*words) == [(kind, words[-1])]


def test_names_that_mean_something_to_a_shell_are_not_safe() -> None:
    assert [name for name in HOSTILE if is_safe(name)] == []
    assert all(map(is_safe, ["main.5", "blocks.0.conv-1", "layer_4", "traffic+light", "Tür", "net.py:Net", "a/b.pt"]))


@pytest.mark.parametrize("content", ["", "[1", "[" * 100_000, '{"layers": 3}', '{"layers": [1, null]}', "[]", "\ud800"])
def test_broken_files_offer_nothing(folder: Path, content: str) -> None:
    (folder / "ganpatch.toml").unlink()
    (folder / "run" / "dissection.json").unlink()
    (folder / "run" / "manifest.json").write_text(content, errors="surrogatepass")
    assert offered("flag", "run", "--layer", "") == []


def test_large_and_odd_files_are_not_read(folder: Path) -> None:
    (folder / "ganpatch.toml").unlink()
    (folder / "run" / "dissection.json").unlink()
    manifest = folder / "run" / "manifest.json"
    manifest.write_text(json.dumps({"layers": ["main.5"], "more": "x" * 3_000_000}))
    assert offered("flag", "run", "--layer", "") == []
    manifest.unlink()
    os.mkfifo(manifest)
    assert offered("flag", "run", "--layer", "") == []


def test_every_command_offers_its_options() -> None:
    for name, command in cli.commands.items():
        for words, one in {
            (name,): command,
            **{(name, n): c for n, c in getattr(command, "commands", {}).items()},
        }.items():
            wanted = {
                option
                for p in one.params
                if isinstance(p, click.Option) and not p.hidden
                for option in p.opts
                if option[:2] == "--"
            }
            assert {value for _, value in offered(*words, "--")} >= wanted
    assert [value for _, value in offered("")] == list(COMMANDS)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_that_of_click(shell: str) -> None:
    done = CliRunner().invoke(cli, ["completion", shell])
    kind = get_completion_class(shell)
    assert kind is not None
    assert done.output == kind(cli, {}, "ganpatch", VARIABLE).source()


def test_a_shell_that_is_not_known() -> None:
    done = CliRunner().invoke(cli, ["completion", "tcsh"])
    assert done.exit_code == 2
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'" in done.output


def test_a_fault_while_completing_prints_nothing(folder: Path) -> None:
    code = "import ganpatch.cli, ganpatch.cli.commands as commands\ncommands.COMMANDS = None\nganpatch.cli.main()\n"
    asked = {"COMP_WORDS": "ganpatch ", "COMP_CWORD": "1", VARIABLE: "bash_complete"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env={**os.environ, **asked}, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")


SETUP = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "bind 'set bell-style none'; source ./script"),
    "zsh": (["zsh", "-f", "-i"], "unsetopt beep; autoload -U compinit; compinit -u -D; source ./script"),
}
LINES = {
    "ganpatch flag run --layer ": "main.5",
    "ganpatch flag run --suggested sp": "spike",
    "ganpatch patch remove --from causes --concept ": "tree",
    "ganpatch rank --layer ": "main.2",
    "ganpatch patch check f": "fix.yaml",
    "ganpatch flag r": "run",
}


class Terminal:
    """A shell in a pseudo-terminal."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self._master, slave = pty.openpty()
        (folder / "bin").mkdir()
        (folder / "bin" / "ganpatch").write_text(f'#!/bin/sh\nexec {sys.executable} -m ganpatch "$@"\n')
        (folder / "bin" / "ganpatch").chmod(0o755)
        environment = {"PATH": f"{folder}/bin:/usr/bin:/bin", "TERM": "dumb", "PS1": "> ", "HOME": str(folder)}
        environment |= {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "LC_ALL": "C.UTF-8"}
        self._process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, cwd=folder, env=environment, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(slave)
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def wait_for(self, text: str) -> str:
        """Return what was printed since the last wait, up to `text`."""
        begun, until = len(self.seen), time.monotonic() + 120
        while text not in self.seen[begun:] and time.monotonic() < until:
            if select.select([self._master], [], [], 1)[0]:
                self.seen += os.read(self._master, 65536).decode(errors="replace")
        assert text in self.seen[begun:], self.seen[begun:]
        return self.seen[begun:]

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)


@pytest.mark.parametrize("shell", list(SETUP))
def test_tab_runs_nothing_of_a_strangers_files(folder: Path, shell: str) -> None:
    """Press Tab on every line that reads a file, and then run what is there, as arguments of echo."""
    (folder / "script").write_text(CliRunner().invoke(cli, ["completion", shell]).output)
    command, setup = SETUP[shell]
    terminal = Terminal(command, folder)
    try:
        terminal.type(f'{setup}; echo is-""ready\n')
        terminal.wait_for("is-ready")
        before = sorted(folder.iterdir())
        for line, word in LINES.items():
            begun = len(terminal.seen)
            terminal.type(f'{line}\t\x01echo "that is" \x05 end\n')
            shown = terminal.wait_for(f"that is {line.rpartition(' ')[0]} {word}")
            assert terminal.seen[begun:].count("\x1b]0;") + shown.count("owned") == 0
        assert sorted(folder.iterdir()) == before
    finally:
        terminal.end()
