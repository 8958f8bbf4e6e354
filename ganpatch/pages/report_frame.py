"""Report pages: one HTML file that opens from disk and sends no request to another host.

Example:

    write_report(folder / "dissection.html", "Dissection of churches", [paragraph("…"), picture(path)])
"""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from ganpatch.disk.atomic_files import write_text
from ganpatch.html_tables import html_table

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1f; --paper: #fff; --faint: #6b6b76; --line: #ddd; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8ea; --paper: #17171a; --faint: #9a9aa6; --line: #3a3a42; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 1100px;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; } h3 { font-size: 1rem; margin-bottom: .3rem; }
svg { display: block; width: 100%; }
img { max-width: 100%; height: auto; image-rendering: auto; border-radius: 3px; }
figure { margin: .6rem 0 1.2rem; } figcaption, .faint { color: var(--faint); font-size: .9rem; }
table { border-collapse: collapse; margin: .8rem 0; } th, td { padding: .25rem .8rem .25rem 0; text-align: left; }
th { border-bottom: 1px solid var(--line); } td.number, th.number { text-align: right; }
.lead { font-size: 1.1rem; max-width: 60rem; } .scroll { overflow-x: auto; }
a { color: #0072b2; } @media (prefers-color-scheme: dark) { a { color: #7cc0ee; } }
.chart a { font-size: .8rem; margin-left: .5rem; } .chart figcaption { color: inherit; }
"""


def write_report(path: Path, title: str, parts: Sequence[str]) -> None:
    """Write a page of `parts`, HTML from the functions below."""
    head = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
    head += f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{_STYLE}</style></head>'
    write_text(path, f"{head}<body><main><h1>{escape(title)}</h1>{''.join(parts)}</main></body></html>\n")


def heading(text: str, level: int = 2) -> str:
    """Return a heading."""
    return f"<h{level}>{escape(text)}</h{level}>"


def paragraph(text: str, kind: str = "") -> str:
    """Return a paragraph; `kind` is "lead" for what to conclude, "faint" for remarks."""
    return f'<p class="{escape(kind)}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def picture(source: str, caption: str) -> str:
    """Return a picture next to the page; the caption is also its alternative text."""
    image = f'<img src="{escape(source)}" alt="{escape(caption)}">'
    return f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; all columns but the first contain numbers."""
    return html_table(columns, rows)
