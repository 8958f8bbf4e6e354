"""`ganpatch flag`."""

from pathlib import Path

import click

from ganpatch.cli.options import ANY_PATH, EXISTING, say
from ganpatch.ranking import read_manifest
from ganpatch.review.flags import chosen_flags
from ganpatch.review.verdicts import patch_from_flags, save_new_patch


@click.command()
@click.argument("run", type=EXISTING)
@click.option("--units", metavar="3,17-19", help="Units to flag.")
@click.option("--layer", help="Their layer; needed when the run ranks several.")
@click.option("--reason", default="", help="Why: what these units draw.")
@click.option("--verdicts", type=EXISTING, help="Verdicts downloaded from the review page.")
@click.option("--name", help="Name of the patch.  [default: the file's name]")
@click.option("--description", default="", help="What the patch repairs.")
@click.option("-o", "--out", type=ANY_PATH, required=True, help="Patch file to write.")
@click.option("--overwrite", is_flag=True, help="Replace an existing patch file.")
def flag(
    run: Path,
    units: str | None,
    layer: str | None,
    reason: str,
    verdicts: Path | None,
    name: str | None,
    description: str,
    out: Path,
    overwrite: bool,
) -> None:
    """Turn flagged units of RUN into a patch that switches them off.

    Without --units or --verdicts: what was flagged under 'ganpatch review'.

    \b
      ganpatch flag run --units 3,17-19 --reason "smeared sky" -o fix.yaml
      ganpatch flag run --verdicts verdicts.json -o fix.yaml
    """
    manifest = read_manifest(run)
    flags = chosen_flags(run, manifest, units=units, layer=layer, reason=reason, verdicts=verdicts)
    patch = patch_from_flags(manifest, flags, name=name or out.stem, description=description)
    save_new_patch(patch, out, overwrite=overwrite)
    say(f"{len(flags)} units in {out}; next: ganpatch sample MODEL --patch {out} --before-after -o pairs.png")
