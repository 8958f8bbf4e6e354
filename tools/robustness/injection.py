"""One command of ganpatch in a process that is killed, interrupted or refused by the disk at a step of our choice.

    outcome = injected(["rank", "model.pt", "-o", "run"], folder, Fault("kill", 17))

A step is anything that changes the disk: a file opened for writing, made, renamed, removed. Python reports each before
it happens (sys.addaudithook), so that every moment between two steps can be tried, not only those of chance.
"""

import errno
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHANGING = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.truncate", "os.link", "os.symlink"}
GROWING = {"open", "os.mkdir"}  # what a full disk refuses
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
NEVER = 1 << 30
_GO_ON = signal.SIGUSR1


@dataclass(frozen=True)
class Fault:
    """What happens at a step: "kill", "interrupt", "wait" (once), "full" or "read-only" (from then on).

    "fills" is a disk that has no more room in the middle of a file: no file grows beyond `step` bytes.
    """

    kind: str
    step: int = NEVER


@dataclass(frozen=True)
class Outcome:
    """How the command ended: its exit code (negative: killed by that signal), what it said, how many steps it took."""

    code: int
    said: str
    steps: int

    @property
    def is_said_well(self) -> bool:
        """Whether the user got a message, and not a traceback."""
        return "internal error" not in self.said and "Traceback" not in self.said


def injected(work: Sequence[str] | Callable[[], object], folder: Path, fault: Fault) -> Outcome:
    """Do `work`, a command line or a function, in a forked process that works in `folder`."""
    with tempfile.TemporaryDirectory() as name:
        said = Path(name) / "said"
        child = started(work, folder, fault, said)
        _, status = os.waitpid(child, 0)
        return Outcome(os.waitstatus_to_exitcode(status), said.read_text(errors="replace"), steps_of(said))


def started(work: Sequence[str] | Callable[[], object], folder: Path, fault: Fault, said: Path) -> int:
    """Begin `work` in a forked process and return its id; the caller waits for it. What it says goes into `said`."""
    steps = said.with_suffix(".steps")
    steps.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        _in_child(work, folder, fault, (said, steps))
    return child


def steps_of(said: Path) -> int:
    """Return the number of steps that the process reported in `said`."""
    steps = said.with_suffix(".steps")
    return int(steps.read_text() or 0) if steps.exists() else 0


def release(child: int) -> None:
    """Let a process go on that waits at its step, or will."""
    os.kill(child, _GO_ON)


def _in_child(work: Sequence[str] | Callable[[], object], folder: Path, fault: Fault, files: tuple[Path, Path]) -> None:
    code = 70
    try:
        os.chdir(folder)
        output = os.open(files[0], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(output, stream)
        counter = _Counter(fault, folder.resolve(), os.open(files[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
        sys.addaudithook(counter)
        signal.pthread_sigmask(signal.SIG_BLOCK, {_GO_ON})
        if fault.kind == "fills":
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (fault.step, fault.step))
        code = _done(work)
    except SystemExit as end:
        code = 0 if end.code is None else int(end.code)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _done(work: Sequence[str] | Callable[[], object]) -> int:
    from ganpatch.cli import main
    from ganpatch.errors import GanpatchError

    if not callable(work):
        sys.argv = ["ganpatch", *work]
        main()
        return 0
    try:
        work()
    except GanpatchError as fault:
        print(f"error: {fault}")
        return 1
    except KeyboardInterrupt:
        print("interrupted")
        return 130
    return 0


class _Counter:
    """Counts the steps inside a folder, and does what the fault says."""

    def __init__(self, fault: Fault, folder: Path, out: int) -> None:
        self.fault, self.folder, self.out, self.count = fault, str(folder), out, 0

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if not self._is_step(event, args):
            return
        self.count += 1
        os.pwrite(self.out, b"%d" % self.count, 0)
        kind, step = self.fault.kind, self.fault.step
        if self.count == step and kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.count == step and kind == "interrupt":
            raise KeyboardInterrupt
        if self.count == step and kind == "wait":
            signal.sigwait({_GO_ON})
        if self.count >= step and kind == "full" and event in GROWING:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self.count >= step and kind == "read-only":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def _is_step(self, event: str, args: tuple[Any, ...]) -> bool:
        if event == "open":
            flags = args[2] if isinstance(args[2], int) else 0
            if not flags & _WRITES:
                return False
        elif event not in CHANGING:
            return False
        path = args[0]
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        if not isinstance(path, str | os.PathLike):
            return isinstance(path, int) and event == "os.truncate"
        place = os.path.abspath(path)  # not resolved: that would ask the disk, and this is asked at every step
        return place.startswith((self.folder, "/proc/self/fd"))
