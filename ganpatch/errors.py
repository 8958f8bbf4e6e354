"""The one error of ganpatch, and the near miss that most of its messages end with.

A message says where, what is wrong, what would be right, and what was probably meant:

    raise GanpatchError(f"layer 'layer4' not found in Generator{near_miss('layer4', names)}")
"""

import difflib
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager


class GanpatchError(Exception):
    """Input that ganpatch refuses; its text is complete, and is shown to users unchanged."""


def near_miss(word: str, options: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the option closest to `word`, or "" if none is close."""
    candidates = list(options)
    folded = {option.lower(): option for option in candidates}
    close = difflib.get_close_matches(word.lower(), folded, n=1, cutoff=0.6)
    return f"; did you mean '{folded[close[0]]}'?" if close else ""


def listed(items: Sequence[str], limit: int = 8) -> str:
    """Join the first `limit` items for a message, and count the rest: "a, b, c (+4 more)"."""
    shown = ", ".join(items[:limit])
    return shown if len(items) <= limit else f"{shown} (+{len(items) - limit} more)"


def printable(text: str) -> str:
    """Return a text that is safe to print on a terminal; control characters are written out, "\\x1b"."""
    kept = (letter if letter.isprintable() or letter in "\n\t" else ascii(letter)[1:-1] for letter in text)
    return "".join(kept)


def first_line(fault: BaseException, most: int | None = 200) -> str:
    """Return the first line of an exception's text, at most `most` characters, or its type if it has no text."""
    text = str(fault).strip()
    return text.splitlines()[0][:most] if text else type(fault).__name__


@contextmanager
def silenced(*names: str) -> Iterator[None]:
    """Silence loggers of libraries that print pages about a broken file; the error is reported in one line."""
    loggers = {logging.getLogger(name): logging.getLogger(name).level for name in names}
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        yield
    finally:
        for logger, level in loggers.items():
            logger.setLevel(level)


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn any exception inside the block into a GanpatchError: `what`, then the first line of the exception."""
    try:
        yield
    except GanpatchError:
        raise
    except Exception as fault:
        raise GanpatchError(f"{what}: {first_line(fault)}") from fault
