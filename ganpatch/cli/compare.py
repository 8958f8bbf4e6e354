"""`ganpatch compare`."""

from pathlib import Path

import click

from ganpatch.cli.completing import PathOf
from ganpatch.cli.help import command
from ganpatch.cli.options import ANY_PATH, json_option
from ganpatch.cli.output import page_path, print_json, print_table, say


@command()
@click.argument("runs", type=PathOf(folder=True), nargs=-1, required=True)
@click.option("--quality", multiple=True, type=float, help="A quality figure of each run's model, in their order.")
@click.option("-o", "--out", type=ANY_PATH, help="Report page to write, .html.")
@json_option
def compare(runs: tuple[Path, ...], quality: tuple[float, ...], out: Path | None, as_json: bool) -> None:
    """Compare the dissections in RUNS: how many units of which kind each layer or model has.

    \b
      ganpatch compare early-run late-run -o compared.html
    """
    from ganpatch.dissection.comparison import compare as compare_runs

    comparison = compare_runs(runs, quality)
    for text in comparison.differing:
        say(f"not alike, so read with care: {text}")
    if out is not None:
        page = page_path(out)
        comparison.write_page(page)
        say(f"open {page} in a browser")
    if as_json:
        print_json(comparison.as_json())
        return
    columns, rows = comparison.rows()
    print_table(columns, rows, numeric=["units", "interpretable", "kinds", "quality"])
