"""Texts that are small and want much: a valid document in which one list or object became a million small values.

Example:

    for name, text in bombs(valid, size=1_000_000):
        cost = measured(lambda: read(text))
"""

import contextlib
import copy
import ctypes
import gc
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganpatch import GanpatchError

SMALL = ("1", "[]", "{}", '""', "[[1]]")
_MARK = "@bomb@"


@dataclass(frozen=True)
class Cost:
    """What reading took, and what was said."""

    memory: int  # bytes at the peak, more than before
    seconds: float  # of computing
    said: str


def bombs(document: Any, size: int, *, places: int = 4) -> Iterator[tuple[str, str]]:
    """Yield texts of about `size` bytes: each list and object of a JSON document in turn filled with small values."""
    for place, marked in _marked(document, places):
        for one in SMALL if place == "$" else SMALL[:2]:
            filling = "[" + ",".join([one] * (size // (len(one) + 1))) + "]"
            yield f"{one} at {place}", json.dumps(marked).replace(f'"{_MARK}"', filling)
        keys = "{" + ",".join(f'"k{index}":1' for index in range(size // 11)) + "}"
        yield f"keys at {place}", json.dumps(marked).replace(f'"{_MARK}"', keys)


def _marked(document: Any, places: int) -> Iterator[tuple[str, Any]]:
    """Yield copies of a document with one container replaced by a mark: the whole, and those within."""
    yield "$", _MARK
    for path in list(_containers(document, ()))[:places]:
        changed = copy.deepcopy(document)
        inside = changed
        for part in path[:-1]:
            inside = inside[part]
        inside[path[-1]] = _MARK
        yield "$." + ".".join(map(str, path)), changed


def _containers(part: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Yield the paths of lists and objects, those near the top first; of a list, its first item represents all."""
    items = (
        list(part.items()) if isinstance(part, dict) else list(enumerate(part))[:1] if isinstance(part, list) else []
    )
    inner = [((*path, key), value) for key, value in items if isinstance(value, dict | list)]
    yield from (place for place, _ in inner)
    for place, value in inner:
        yield from _containers(value, place)


def measured(work: Callable[[], object]) -> Cost:
    """Do `work`, which may end with a GanpatchError, and measure what it takes at its peak."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins again
    before, started, said = _peak(), time.process_time(), ""
    try:
        work()
    except GanpatchError as fault:
        said = str(fault)
    return Cost(_peak() - before, time.process_time() - started, said)


def _peak() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024
