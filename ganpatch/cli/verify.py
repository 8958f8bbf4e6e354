"""`ganpatch verify`."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ganpatch.cli import completing
from ganpatch.cli.loading import load_model, loading_options, model_command
from ganpatch.cli.options import PATCH_FILE, WEIGHTS_FILE, json_option, other_weights_option, seeds_option
from ganpatch.cli.output import print_json, print_table, say, working


@model_command()
@click.argument("model", shell_complete=completing.models)
@click.argument("patch_file", metavar="PATCH", type=PATCH_FILE)
@click.argument("fixed", nargs=-1, type=WEIGHTS_FILE)
@seeds_option(range(8))
@other_weights_option
@loading_options
@json_option
def verify(
    model: str,
    patch_file: Path,
    fixed: tuple[Path, ...],
    seeds: Sequence[int],
    allow_other_weights: bool,
    loading: dict[str, Any],
    as_json: bool,
) -> None:
    """Compare PATCH as hooks on MODEL with the bake and with the files FIXED, on the same seeds.

    Prints the largest and mean difference, where the largest is (seed; channel,y,x) and, for scale, what the patch
    itself changes. Exits 1 when anything differs by more than its tolerance.

    \b
      ganpatch verify model.pt fix.yaml model.fixed.pt fixed.onnx
    """
    from ganpatch.export.report_rows import agreement_rows
    from ganpatch.export.verifying import verify as compare
    from ganpatch.patch.patch_file import Patch

    patch = Patch.load(patch_file)
    options = {"key": loading["key"], "allow_other_weights": allow_other_weights}
    generator = load_model(model, loading)
    with working("comparing"):
        report = compare(generator, patch, fixed, seeds, **options)
    if as_json:
        print_json({"agree": report.agree, **asdict(report)})
    else:
        heading, *rows = agreement_rows(report)
        print_table(heading, rows, numeric=["largest", "mean", "tolerance", "seed"])
    say("all agree" if report.agree else "they do not agree")
    sys.exit(0 if report.agree else 1)
