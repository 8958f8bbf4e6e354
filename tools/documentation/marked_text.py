"""Text in a page that a tool writes, between two marks.

Example:

    write_between(page, "verdict", table)       # after <!-- verdict -->, up to <!-- end of verdict -->
"""

from pathlib import Path


def write_between(page: Path, name: str, text: str) -> None:
    """Replace the text between the marks called `name`, which the page must have."""
    start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, found, rest = page.read_text().partition(start)
    _, closed, after = rest.partition(end)
    assert found, f"{page} has no {start}"
    assert closed, f"{page} has no {end}"
    page.write_text(f"{before}{start}{text}{end}{after}")
