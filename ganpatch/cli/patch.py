"""`ganpatch patch`: working on patch files alone."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganpatch.cli import completing
from ganpatch.cli.completing import PathOf
from ganpatch.cli.help import Command
from ganpatch.cli.loading import load_model, loading_options
from ganpatch.cli.options import ANY_PATH, PATCH_FILE, json_option, other_weights_option, seeds_option
from ganpatch.cli.output import print_json, print_rows, print_table, progress_bar, say
from ganpatch.cli.patch_concepts import insert, remove
from ganpatch.cli.running import compute_options
from ganpatch.errors import printable
from ganpatch.option_values import EFFECT_SEEDS, PATCH_SUFFIXES

if TYPE_CHECKING:
    from ganpatch.generator.device import Compute
    from ganpatch.patch.patch_file import Patch

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
@click.option("--model", shell_complete=completing.models, help="Draw what the patch does to images of this model.")
@seeds_option(EFFECT_SEEDS)
@click.option("-o", "--out", type=ANY_PATH, help="Picture of that to write.  [default: PATCH-effect.png]")
@other_weights_option
@compute_options
@loading_options
@json_option
def show(file: Path, model: str | None, as_json: bool, **given: Any) -> None:
    """Show what the patch FILE does; with --model, also what it does to images, in a picture, before you apply it.

    A patch is data, but it changes a model. The picture shows how much each image changes, which parts of it, and the
    twelve most changed pairs. Nothing but the picture is written.

    \b
      ganpatch patch show fix.yaml
      ganpatch patch show fix.yaml --model model.pt -o fix-effect.png
    """
    from ganpatch.patch.combining import patch_rows
    from ganpatch.patch.patch_file import Patch

    found = Patch.load(file)
    if model is not None:
        _show_effect(found, file, model, as_json, **given)
        return
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    about = f"{found.name}, for {found.model.name}{': ' + found.description if found.description else ''}"
    click.echo(printable(about))
    print_table(["edit", "layer", "units", "what", "reason"], patch_rows(found))


def _show_effect(
    found: "Patch",
    file: Path,
    model: str,
    as_json: bool,
    *,
    seeds: Sequence[int],
    out: Path | None,
    allow_other_weights: bool,
    compute: "Compute",
    loading: dict[str, Any],
) -> None:
    from ganpatch.pages.image_grids import picture_format, save_picture
    from ganpatch.pages.patch_effects import measure_effect

    picture = out or file.with_name(f"{file.stem}-effect.png")
    picture_format(picture)
    generator = load_model(model, loading, compute, patch=found)
    with progress_bar("drawing") as progress:
        effect = measure_effect(generator, found, seeds, allow_other_weights=allow_other_weights, progress=progress)
    save_picture(effect.picture(), picture)
    print_rows(["what", "value"], effect.rows(), as_json)
    say(f"open {picture}")


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
