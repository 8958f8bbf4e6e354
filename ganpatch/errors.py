"""The one error of ganpatch, and the near miss that most of its messages end with.

A message says where, what is wrong, what would be right, and what was probably meant:

    raise GanpatchError(f"layer 'layer4' not found in Generator{near_miss('layer4', names)}")
"""

import difflib
from collections.abc import Iterable, Sequence


class GanpatchError(Exception):
    """Input that ganpatch refuses; its text is complete and is shown to users as it is."""


def near_miss(word: str, options: Iterable[str]) -> str:
    """Give "; did you mean 'x'?" for the option closest to `word`, or "" if none is close."""
    candidates = list(options)
    folded = {option.lower(): option for option in candidates}
    close = difflib.get_close_matches(word.lower(), folded, n=1, cutoff=0.6)
    return f"; did you mean '{folded[close[0]]}'?" if close else ""


def listed(items: Sequence[str], limit: int = 8) -> str:
    """Join the first `limit` items for a message, and count the rest: "a, b, c (+4 more)"."""
    shown = ", ".join(items[:limit])
    return shown if len(items) <= limit else f"{shown} (+{len(items) - limit} more)"
