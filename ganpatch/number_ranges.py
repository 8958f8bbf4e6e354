"""Lists of numbers as people write them: seeds and units, "0-63,70" and "3,17-19".

Example:

    parse_spans("3,17-19", what="unit")     # [3, 17, 18, 19]
    parse_ranges("3,17-19", what="unit")    # [range(3, 4), range(17, 20)]
    format_spans([3, 17, 18, 19])           # "3,17-19"
"""

import itertools
import re
from collections.abc import Iterable, Sequence

from ganpatch.errors import GanpatchError

_SPAN = re.compile(r"\s*(\d{1,18})\s*(?:-\s*(\d{1,18})\s*)?")
_MOST, _MOST_LISTED = 10_000_000, 5_000_000


def parse_spans(text: str, *, what: str) -> Sequence[int]:
    """Return [0, 1, 4, 5, 6] for "0,1,4-6", in the order written; raise GanpatchError for anything else.

    A single range is returned as a range: "0-9999999" takes no memory.
    """
    spans = parse_ranges(text, what=what)
    most = _MOST if len(spans) == 1 else _MOST_LISTED
    if sum(map(len, spans)) > most:
        raise GanpatchError(f"{what}s '{_shown(text)}': more than {most:,} numbers")
    return spans[0] if len(spans) == 1 else [number for span in spans for number in span]


def parse_ranges(text: str, *, what: str) -> list[range]:
    """Return the ranges of "0,1,4-6" in the order written, however long; raise GanpatchError for anything else."""
    spans = []
    for part in text.split(","):
        match = _SPAN.fullmatch(part)
        if match is None:
            raise GanpatchError(f"{what}s '{_shown(text)}': '{part.strip()}' is not a number or a range like 4-6")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            wrong = f"the range {part.strip()} runs backwards; write {last}-{first}"
            raise GanpatchError(f"{what}s '{_shown(text)}': {wrong}")
        spans.append(range(first, last + 1))
    for before, after in itertools.pairwise(sorted(spans, key=lambda span: span.start)):
        if after.start < before.stop:
            raise GanpatchError(f"{what}s '{_shown(text)}': {what} {after.start} is listed twice")
    return spans


def format_spans(numbers: Iterable[int]) -> str:
    """Write numbers in their order, runs of neighbours as ranges."""
    if isinstance(numbers, range) and numbers.step == 1:
        return _span(numbers.start, numbers.stop - 1) if numbers else ""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ",".join(_span(first, last) for first, last in spans)


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _shown(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:100]}…"
