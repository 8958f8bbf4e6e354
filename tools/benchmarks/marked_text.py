"""Figures in a page of the docs, written by a tool between the marks <!-- NAME --> and <!-- end of NAME -->."""

from pathlib import Path


def replace_marked(page: Path, mark: str, text: str) -> None:
    """Replace what is between the marks of a page."""
    before, start, rest = page.read_text().partition(f"<!-- {mark} -->\n")
    _, end, after = rest.partition(f"\n<!-- end of {mark} -->")
    assert start, f"{page} has no <!-- {mark} -->"
    assert end, f"{page} has no <!-- end of {mark} -->"
    page.write_text(f"{before}{start}{text}{end}{after}")
