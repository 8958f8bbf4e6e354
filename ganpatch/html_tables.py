"""Tables in HTML: those of report pages, and how results show themselves in a notebook.

Example:

    html_table(["layer", "units"], [("layer4", "256")], title="churches: 1000 images")
"""

from collections.abc import Sequence
from html import escape


def html_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "", numeric: bool = True) -> str:
    """Return a table under its title; all columns but the first hold numbers, unless `numeric` is False."""
    kinds = ["", *[' class="number"' if numeric else ""] * (len(columns) - 1)]
    head = "".join(f"<th{kind}>{escape(name)}</th>" for kind, name in zip(kinds, columns, strict=True))
    lines = ("".join(f"<td{kind}>{escape(cell)}</td>" for kind, cell in zip(kinds, row, strict=True)) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    lead = f"<p><b>{escape(title)}</b></p>" if title else ""
    scroll = f'class="scroll" tabindex="0" role="region" aria-label="{escape(title or "table")}"'
    return f"{lead}<div {scroll}><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
