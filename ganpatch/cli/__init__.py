"""cli: the command line. one file per stage, bodies without logic; errors are put into words here, once.

Results go to stdout, progress to stderr. Exit 0: done; 1: refused or disagreed; 2: usage.
"""

import ctypes
import errno
import os
import signal
import sys
import warnings
from io import StringIO
from types import FrameType
from typing import TYPE_CHECKING

import click

from ganpatch.cli.commands import CommandTable
from ganpatch.cli.completing import VARIABLE
from ganpatch.cli.help import wrong_option
from ganpatch.cli.running import TOGETHER
from ganpatch.errors import GanpatchError, printable
from ganpatch.version import VERSION

if TYPE_CHECKING:
    from ganpatch.forward.processes import Group

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


@click.group(cls=CommandTable, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(VERSION, prog_name="ganpatch", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Repair a trained image generator: rank its units, look, flag the ones that draw artifacts, patch.

    \b
      ganpatch rank model.pt --n 1000 -o run
      ganpatch flag run --units 3,17-19 --reason "smeared sky" -o fix.yaml
      ganpatch apply model.pt fix.yaml
      ganpatch export model.pt fix.yaml -o fixed.onnx

    Without a MODEL: what ganpatch.toml in the working folder says, else the bundled generator "churches".
    """
    if context.obj is not None and context.invoked_subcommand not in TOGETHER:
        command = context.invoked_subcommand
        raise GanpatchError(f"'ganpatch {command}' runs in one process; several are for {', '.join(TOGETHER)}")


def main() -> None:
    """Run the command line and turn every error into one message and an exit code."""
    _open_closed_streams()
    _keep_freed_memory()
    warnings.simplefilter("ignore", FutureWarning)  # torch's, of its own deprecations: users can do nothing about them
    signal.signal(signal.SIGTERM, _terminate)
    group, voice = None, sys.stderr
    try:
        group = _several_processes()
        if group is not None and not group.is_first:
            sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - as long as the process
        code = cli.main(obj=group, prog_name="ganpatch", standalone_mode=False)
    except SystemExit:
        raise
    except BaseException as fault:
        if VARIABLE in os.environ:
            sys.exit(1)  # Tab was pressed: nothing may be printed on the line that is being typed
        if os.environ.get("GANPATCH_TRACEBACK") and isinstance(fault, Exception):
            raise
        fault = fault.__cause__ or fault if isinstance(fault, click.Abort) else fault  # click's word for an interrupt
        code, text = _told(fault, group)
        text = "\n".join([text, *getattr(fault, "__notes__", ())])
        if text and (group is None or group.is_teller()):
            click.echo(text, file=voice)
    if group is not None:
        group.leave(well=not code)
        if code:
            os._exit(code)  # the interpreter would wait for what is still to be sent to the others
    sys.exit(code)


def _several_processes() -> "Group | None":
    """Return the processes that torchrun started, or None for one alone, which need not import torch to know."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return None
    from ganpatch.forward.processes import Group

    group = Group.of_environment()
    return group if group.size > 1 else None


def _told(fault: BaseException, group: "Group | None") -> tuple[int, str]:
    """Return the exit code for what ended a command, and what to say of it."""
    if isinstance(fault, click.ClickException):
        if isinstance(fault, click.NoSuchOption):
            fault = click.UsageError(wrong_option(fault), fault.ctx)
        shown = StringIO()
        fault.show(shown)
        return fault.exit_code, shown.getvalue().rstrip()
    if isinstance(fault, KeyboardInterrupt | click.Abort):
        gone = group.lost() if group is not None else []
        return getattr(fault, "code", 130), _error(group.loss(gone)) if group is not None and gone else "interrupted"
    if isinstance(fault, BrokenPipeError):
        return 1, ""
    if isinstance(fault, GanpatchError):
        return 1, _error(str(fault))
    if isinstance(fault, MemoryError) or type(fault).__name__ == "OutOfMemoryError":
        return 1, _error("out of memory; a smaller --batch-size needs less")
    if isinstance(fault, OSError) and fault.errno is not None:
        return 1, _error(cli_error(fault))
    first = str(fault).strip().splitlines()
    what = f"internal error (a bug in ganpatch; please report it): {type(fault).__name__}: {first[0] if first else ''}"
    return 1, _error(f"{what}\nGANPATCH_TRACEBACK=1 shows where")


def _error(text: str) -> str:
    return f"{click.style('error:', fg='red', bold=True)} {printable(text)}"


def cli_error(fault: OSError) -> str:
    """Return what the operating system refused, in words; without a file name, it was a write to standard output."""
    reason = "it is closed" if fault.errno == errno.EBADF else (fault.strerror or str(fault)).lower()
    if fault.filename is None:
        return f"cannot write to standard output: {reason}"
    hint = "; choose a shorter name with -o" if fault.errno == errno.ENAMETOOLONG else ""
    return f"'{os.fsdecode(fault.filename)}': {reason}{hint}"


def _open_closed_streams() -> None:
    """Open the standard streams that are closed, so that no file gets their numbers; writing to stdout then fails."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_WRONLY if name == "stderr" else os.O_RDONLY)
            setattr(sys, name, open(number, "r" if name == "stdin" else "w", closefd=False))  # noqa: SIM115


class _Terminated(KeyboardInterrupt):
    code = 143


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise _Terminated


def _keep_freed_memory() -> None:
    """Keep the memory of large activations between batches: giving it back and faulting it in costs up to a fifth."""
    if sys.platform == "linux":
        try:
            mallopt = ctypes.CDLL(None).mallopt
        except (OSError, AttributeError):
            return
        mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
