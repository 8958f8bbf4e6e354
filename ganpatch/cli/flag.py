"""`ganpatch flag`."""

from pathlib import Path
from typing import Any

import click

from ganpatch.cli import completing
from ganpatch.cli.completing import PathOf
from ganpatch.cli.help import command
from ganpatch.cli.options import ANY_PATH, FOLDER, json_option
from ganpatch.cli.output import print_json, say


@command()
@click.argument("run", type=FOLDER)
@click.option("--units", metavar="3,17-19", help="Units to flag.")
@click.option("--layer", shell_complete=completing.layers, help="Their layer; needed when the run ranks several.")
@click.option("--reason", default="", help="Why: what these units draw.")
@click.option("--verdicts", type=PathOf(".json", exists=True), help="Verdicts downloaded from the review page.")
@click.option(
    "--suggested",
    metavar="METHOD",
    shell_complete=completing.suggested,
    help="The units that ganpatch suggest put first, with its edits, or its sets: set-1,set-3.",
)
@click.option("--first", type=click.IntRange(1), help="How many of the suggested units, or sets.  [default: 20 units]")
@click.option("--name", help="Name of the patch.  [default: the file's name]")
@click.option("--description", default="", help="What the patch repairs.")
@click.option("-o", "--out", type=ANY_PATH, required=True, help="Patch file to write.")
@click.option("--overwrite", is_flag=True, help="Replace an existing patch file.")
@json_option
def flag(
    run: Path,
    name: str | None,
    description: str,
    out: Path,
    overwrite: bool,
    as_json: bool,
    **asked: Any,
) -> None:
    """Turn flagged units of RUN into a patch that switches them off, or edits them as suggested.

    Without --units or --verdicts: what was flagged under 'ganpatch review'.

    \b
      ganpatch flag run --units 3,17-19 --reason "smeared sky" -o fix.yaml
      ganpatch flag run --verdicts verdicts.json -o fix.yaml
      ganpatch flag run --suggested first-look --first 20 -o fix.yaml
      ganpatch flag run --suggested set-1,set-3 -o fix.yaml
    """
    from ganpatch.patch.new_files import name_from, save_new_patch
    from ganpatch.review.flags import Asked, flag_as_asked, where_weights_fail

    patch = flag_as_asked(run, Asked(**asked), name=name or name_from(out), description=description)
    save_new_patch(patch, out, overwrite=overwrite)
    count = sum(len(edit.units) for edit in patch.edits)
    if as_json:
        print_json({"written": str(out), "edits": [edit.layer for edit in patch.edits], "units": count})
    if remark := where_weights_fail(patch):
        say(remark)
    say(f"{count} units in {out}; next: ganpatch sample MODEL --patch {out} --before-after -o pairs.png")
