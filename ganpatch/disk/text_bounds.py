"""How much reading a text file may take: decided by counting, before anything is made of it.

    refuse_dense(content, "'run/manifest.json'")

A byte of JSON or TOML can become a hundred bytes of memory: `[],[],[],…`. Files that ganpatch writes are less dense.
"""

import re

from ganpatch.errors import GanpatchError

MOST_FAULTS = 100  # in one message
MOST_NAMES = 20_000  # different keys: a fault for each takes two kilobytes
_TIMES, _FREE = 20, 100_000_000  # reading takes at most so many times the file's size, and so many bytes more
_BRACKET, _COMMA = 170, 46  # bytes that an empty list and a number take
_KEY = re.compile(rb'"((?:[^"\\]|\\.)*+)"\s*:')


def refuse_dense(content: bytes | str, where: str) -> None:
    """Raise GanpatchError when reading `content` would take more memory than a file of its size may."""
    text = content.encode(errors="replace") if isinstance(content, str) else content
    brackets = text.count(b"[") + text.count(b"{")
    needed, most = _BRACKET * brackets + _COMMA * text.count(b","), _TIMES * len(text) + _FREE
    if needed > most:
        raise GanpatchError(
            f"{where}: it holds too many values for its {len(text):,} bytes: reading it would take about "
            f"{needed // 1_000_000:,} MB; at most {most // 1_000_000:,} MB are allowed"
        )
    names = set()
    for found in _KEY.finditer(text):
        names.add(found[1])
        if len(names) > MOST_NAMES:
            raise GanpatchError(f"{where}: it holds more than {MOST_NAMES:,} different keys")


def first_faults(rows: list[str]) -> str:
    """Join the first hundred faults, one a line, and count the rest."""
    more = len(rows) - MOST_FAULTS
    return "\n".join(rows[:MOST_FAULTS] + ([f"… and {more:,} more faults"] if more > 0 else []))
