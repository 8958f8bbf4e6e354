"""Code in a process that may take little memory and little time: what a small file must do with.

Example:

    said = refusal(lambda: Patch.load(path))        # the text of the GanpatchError; anything else fails the test
"""

import os
import resource
import signal
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

from ganpatch import GanpatchError
from tests.support.fuzzing import TooMuch, quiet, refuse_swallowed

MORE_MEMORY = 1 << 30
SECONDS = 10


def refusal(work: Callable[[], object]) -> str:
    """Do `work` in a forked process with a gigabyte and ten seconds; return the GanpatchError that it ends with."""
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "said"
        child = os.fork()
        if child == 0:
            _in_child(work, said)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        text = said.read_text() if said.exists() else ""
    assert code == 0, f"ended with {code}: {text}"
    return text


def is_told_apart(fault: GanpatchError) -> bool:
    """Distinguish a file that is refused from memory that was needed and not there."""
    try:
        refuse_swallowed(fault)
    except TooMuch:
        return False
    return True


def _in_child(work: Callable[[], object], said: Path) -> None:
    code = 1
    try:
        signal.setitimer(signal.ITIMER_PROF, SECONDS)  # ends the process
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * os.sysconf("SC_PAGE_SIZE") + MORE_MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        with quiet():
            work()
        said.write_text("nothing was said")
    except GanpatchError as fault:
        said.write_text(str(fault))
        code = 0 if is_told_apart(fault) else 1
    except BaseException:
        said.write_text(traceback.format_exc())
    finally:
        os._exit(code)
