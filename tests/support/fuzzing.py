"""One file of a kind spoilt and read again; only GanpatchError may come out.

Example:

    target = TARGETS["patch"]           # tests/support/fuzz_targets.py
    target.make(folder)                 # valid files
    attempt(target, folder, b"\\x07…")  # one of them spoilt, read, and put back
"""

import contextlib
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ganpatch import GanpatchError
from tests.support.mutations import Dice, spoilt

Read = Callable[[Path], object]

Bounds = Callable[[], contextlib.AbstractContextManager[Any]]


@dataclass(frozen=True)
class Target:
    """Files of one kind: how valid ones are made, how they are read, and which of them are spoilt."""

    make: Callable[[Path], object]
    read: Read
    files: tuple[str, ...]
    spoil: Callable[[Path, Dice], None] | None = None
    slow: bool = False
    memory: int = 1 << 30  # bytes that reading may take
    content: dict[str, bytes] = field(default_factory=dict)
    depths: "Counter[str]" = field(default_factory=Counter)  # of all attempts: "first", "later", "end"


_passed = [0]


def passed() -> None:
    """Report that one reader of the target has accepted its file: what follows is not reached by refused files."""
    _passed[0] += 1


def attempt(target: Target, folder: Path, choices: bytes, bounds: Bounds = contextlib.nullcontext) -> str:
    """Spoil a file of the target by `choices`, and read it; return what was said, or raise what must not come out.

    Reading happens inside `bounds`. The target counts how deep its attempts came.
    """
    for name in target.files:
        if name not in target.content:
            target.content[name] = (folder / name).read_bytes()
    dice = Dice(choices)
    if target.spoil is None:
        name = dice.one(target.files)
        (folder / name).write_bytes(spoilt(name, target.content[name], dice))
    else:
        target.spoil(folder, dice)
    _passed[0] = 0
    try:
        with quiet(), bounds():
            target.read(folder)
    except GanpatchError as fault:
        refuse_swallowed(fault)
        target.depths["later" if _passed[0] else "first"] += 1
        return str(fault)
    finally:
        for name in target.files:
            (folder / name).write_bytes(target.content[name])
    target.depths["end"] += 1
    return ""


class TooMuch(Exception):
    """Reading took more memory than a small file may take, and said so as if the file were broken."""


def refuse_swallowed(fault: BaseException) -> None:
    """Raise TooMuch where an error that is put into words was want of memory."""
    cause: BaseException | None = fault
    while cause is not None:
        if isinstance(cause, MemoryError) or "allocate" in str(cause) or "out of memory" in str(cause).lower():
            raise TooMuch(str(cause)) from cause
        cause = cause.__cause__


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Ignore what libraries warn of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
