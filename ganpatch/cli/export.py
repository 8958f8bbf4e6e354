"""`ganpatch export`."""

from pathlib import Path
from typing import Any

import click

from ganpatch.cli.loading import load_model, loading_options, model_command
from ganpatch.cli.options import (
    ANY_PATH,
    json_option,
    mode_option,
    model_and_patch,
    other_weights_option,
    split_optional_patch,
)
from ganpatch.cli.output import print_decisions, say, working


@model_command()
@model_and_patch(needs_patch=False)
@click.option("-o", "--out", type=ANY_PATH, required=True, help="ONNX file to write.")
@click.option("--batch", type=click.IntRange(1), help="Fix the batch size.  [default: dynamic]")
@mode_option
@other_weights_option
@loading_options
@json_option
def export(
    model_and_patch: tuple[str, ...],
    out: Path,
    batch: int | None,
    mode: Any,
    allow_other_weights: bool,
    loading: dict[str, Any],
    as_json: bool,
) -> None:
    """Export MODEL to ONNX, with PATCH inside, and compare it with torch in onnxruntime before it is written.

    \b
      ganpatch export model.pt -o model.onnx
      ganpatch export model.pt fix.yaml -o fixed.onnx
    """
    from ganpatch.export.onnx_export import export_onnx
    from ganpatch.export.report_rows import exported_text
    from ganpatch.patch.patch_file import Patch

    model, patch_file = split_optional_patch(model_and_patch)
    patch = Patch.load(patch_file) if patch_file else None
    generator = load_model(model, loading, patch=patch)
    with working("exporting and comparing"):
        exported = export_onnx(
            generator, out, patch=patch, mode=mode, batch=batch, allow_other_weights=allow_other_weights
        )
    if exported.decisions or as_json:
        print_decisions(exported.decisions, out, as_json)
    say(exported_text(exported))
