"""The command line in this process, from the words to the exit code; a process of its own imports torch for seconds.

Example:

    done = run("rank", "model.pt", "-o", "run")
    done.returncode, done.stdout, done.stderr
    assert wrong("rank", "modle.pt").startswith("error: model 'modle.pt' not found")
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from unittest.mock import patch

import pytest

import ganpatch.cli


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a command printed, and its exit code."""

    returncode: int
    stdout: str
    stderr: str


def run(*arguments: str) -> Done:
    """Run `ganpatch ARGUMENTS` in the working folder, Ctrl-C and exit codes included."""
    out, err = (TextIOWrapper(BytesIO(), "utf-8", write_through=True) for _ in range(2))
    typed = patch.object(sys, "argv", ["ganpatch", *arguments])
    with _signals_kept(), typed, redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as end:
        ganpatch.cli.main()
    return Done(returncode=end.value.code or 0, stdout=_text(out), stderr=_text(err))


def right(*arguments: str) -> Done:
    """Run a command that succeeds."""
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    return done


def wrong(*arguments: str, code: int = 1) -> str:
    """Run a command that is refused with `code`, without output; return its message."""
    done = run(*arguments)
    assert done.returncode == code, (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done.stderr.strip()


@contextmanager
def _signals_kept() -> Iterator[None]:
    """A process that was started in the background ignores Ctrl-C; commands heed it."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _text(stream: TextIOWrapper) -> str:
    return stream.buffer.getvalue().decode()  # type: ignore[attr-defined]
