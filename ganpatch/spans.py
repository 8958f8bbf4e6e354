"""Lists of numbers as people write them: seeds and units, "0-63,70" and "3,17-19".

parse_spans("3,17-19", what="unit")     # [3, 17, 18, 19]
format_spans([3, 17, 18, 19])           # "3,17-19"
"""

import re
from collections.abc import Iterable, Sequence

from ganpatch.errors import GanpatchError

_SPAN = re.compile(r"\s*(\d{1,18})\s*(?:-\s*(\d{1,18})\s*)?")
_MOST = 50_000_000


def parse_spans(text: str, *, what: str) -> list[int]:
    """Read "0,1,4-6" as [0, 1, 4, 5, 6], in the order written; raise GanpatchError on anything else."""
    numbers: list[int] = []
    for part in text.split(","):
        match = _SPAN.fullmatch(part)
        if match is None:
            raise GanpatchError(f"{what}s '{text}': '{part.strip()}' is not a number or a range like 4-6")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise GanpatchError(f"{what}s '{text}': the range {part.strip()} runs backwards; write {last}-{first}")
        if len(numbers) + last - first >= _MOST:
            raise GanpatchError(f"{what}s '{text}': more than {_MOST:,} numbers")
        numbers.extend(range(first, last + 1))
    repeated = _first_repeated(numbers)
    if repeated is not None:
        raise GanpatchError(f"{what}s '{text}': {what} {repeated} stands there twice")
    return numbers


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


def _first_repeated(numbers: Sequence[int]) -> int | None:
    if len(set(numbers)) == len(numbers):
        return None
    seen: set[int] = set()
    for number in numbers:
        if number in seen:
            return number
        seen.add(number)
    return None
