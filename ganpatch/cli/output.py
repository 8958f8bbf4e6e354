"""What commands print: results on stdout, remarks and progress on stderr. Imports rich only to draw."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganpatch.errors import printable

if TYPE_CHECKING:
    from ganpatch.fold.planning import Decision


def say(text: str) -> None:
    """Print a remark on stderr."""
    click.echo(printable(text), err=True)


def page_path(path: Path) -> Path:
    """Return the path of a page to write: a browser shows a name without a suffix as text, so it gets .html, said."""
    if path.suffix:
        return path
    page = path.with_name(f"{path.name}.html")
    say(f"'{path}' has no suffix: the page is {page}")
    return page


def print_json(content: Any) -> None:
    """Print a result as JSON on stdout."""
    click.echo(json.dumps(content, indent=1))


def print_rows(heading: Sequence[str], rows: Sequence[Sequence[str]], as_json: bool) -> None:
    """Print rows as a table, or as JSON: one object per row."""
    if as_json:
        print_json([dict(zip(heading, row, strict=True)) for row in rows])
    else:
        print_table(heading, rows)


def print_tables(tables: Sequence[Sequence[Sequence[str]]], as_json: bool) -> None:
    """Print the tables that have rows, each a heading and its rows, or all their rows as one JSON list."""
    if as_json:
        print_json([dict(zip(heading, row, strict=True)) for heading, *rows in tables for row in rows])
        return
    for heading, *rows in tables:
        if rows:
            print_table(heading, rows)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, numeric: Sequence[str] = ()) -> None:
    """Print a table on stdout, as wide as its content where the output is no terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 200)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console.print(table)


def print_decisions(decisions: Sequence["Decision"], written: Path | None, as_json: bool) -> None:
    """Print the outcome of each edit, as a table or as JSON."""
    from ganpatch.export.report_rows import decision_rows

    heading, *rows = decision_rows(decisions)
    if as_json:
        edits = [dict(zip(heading, row, strict=True)) for row in rows]
        print_json({"written": None if written is None else str(written), "edits": edits})
    else:
        print_table(heading, rows)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show on a terminal that something is being done that cannot be counted, and for how long."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = [SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()]
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        bars.add_task(what, total=None)
        yield


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show progress with a rate and the time left, on stderr; yield the function that reports (done, total)."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:.0f}/s" if task.speed else "", style="progress.data.speed")

    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn()]
    bars = Progress(*columns, console=Console(stderr=True))
    task = bars.add_task(what, total=None)

    def show(done: int, total: int) -> None:
        bars.start()  # not before there is something to show
        bars.update(task, completed=done, total=total)

    try:
        yield show
    finally:
        bars.stop()
