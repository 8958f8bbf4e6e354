"""`ganpatch patch`: working on patch files alone."""

import json
from pathlib import Path

import click

from ganpatch.cli.completing import PathOf
from ganpatch.cli.help import Command
from ganpatch.cli.options import ANY_PATH, PATCH_FILE, json_option
from ganpatch.cli.output import print_json, print_table, say
from ganpatch.cli.patch_concepts import insert, remove
from ganpatch.errors import printable
from ganpatch.option_values import PATCH_SUFFIXES

_overwrite = click.option("--overwrite", is_flag=True, help="Replace an existing patch file.")


@click.group()
def patch() -> None:
    """Check, show, compare and join patch files."""


@patch.command(cls=Command)
@click.argument("files", type=PathOf(*PATCH_SUFFIXES), nargs=-1, required=True)
def check(files: tuple[Path, ...]) -> None:
    """Check patch FILES and report all errors, with their places.

    \b
      ganpatch patch check patches/*.yaml
    """
    from ganpatch.errors import GanpatchError
    from ganpatch.patch.patch_file import Patch

    faults = []
    for file in files:
        try:
            Patch.load(file)
        except GanpatchError as fault:
            faults.append(str(fault))
    if faults:
        raise GanpatchError("\n".join(faults))
    say(f"{len(files)} patches are right" if len(files) > 1 else f"{files[0]} is right")


@patch.command(cls=Command)
@click.argument("file", type=PATCH_FILE)
@json_option
def show(file: Path, as_json: bool) -> None:
    """Show what the patch FILE does.

    \b
      ganpatch patch show fix.yaml
    """
    from ganpatch.patch.combining import patch_rows
    from ganpatch.patch.patch_file import Patch

    found = Patch.load(file)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    about = f"{found.name}, for {found.model.name}{': ' + found.description if found.description else ''}"
    click.echo(printable(about))
    print_table(["edit", "layer", "units", "what", "reason"], patch_rows(found))


@patch.command(cls=Command)
@click.argument("old", type=PATCH_FILE)
@click.argument("new", type=PATCH_FILE)
@json_option
def diff(old: Path, new: Path, as_json: bool) -> None:
    """Show what the patch NEW does differently from OLD; exit 1 when they differ.

    \b
      ganpatch patch diff fix.yaml softer.yaml
    """
    from ganpatch.patch.combining import diff_patches
    from ganpatch.patch.patch_file import Patch

    lines = diff_patches(Patch.load(old), Patch.load(new))
    if as_json:
        print_json(lines)
    else:
        click.echo(printable("\n".join(lines)) if lines else "no difference", err=not lines)
    if lines:
        raise click.exceptions.Exit(1)


@patch.command(name="merge", cls=Command)
@click.argument("files", type=PATCH_FILE, nargs=-1, required=True)
@click.option("-o", "--out", type=ANY_PATH, required=True, help="Patch file to write.")
@click.option("--sequence", is_flag=True, help="Allow edits of the same unit, applied in this order.")
@_overwrite
def merge_files(files: tuple[Path, ...], out: Path, sequence: bool, overwrite: bool) -> None:
    """Join patch FILES for one model into one; edits of the same unit are a conflict unless --sequence.

    \b
      ganpatch patch merge skies.yaml roofs.yaml -o both.yaml
    """
    from ganpatch.patch.combining import merge_patches
    from ganpatch.patch.new_files import name_from, save_new_patch
    from ganpatch.patch.patch_file import Patch

    merged = merge_patches([Patch.load(file) for file in files], name=name_from(out), sequence=sequence)
    save_new_patch(merged, out, overwrite=overwrite)
    say(f"{len(merged.edits)} edits in {out}")


@patch.command(cls=Command)
def schema() -> None:
    """Print the JSON Schema of patch files, for editors.

    \b
      ganpatch patch schema > patch.schema.json
    """
    from ganpatch.patch.patch_file import Patch

    click.echo(json.dumps(Patch.model_json_schema(), indent=1))


patch.add_command(remove)
patch.add_command(insert)
