"""`ganpatch apply`."""

from typing import Any

import click

from ganpatch.cli.loading import choose, loading_options, model_command
from ganpatch.cli.options import (
    ANY_PATH,
    json_option,
    mode_option,
    model_and_patch,
    other_weights_option,
    split_patch,
)
from ganpatch.cli.output import print_decisions, say, working


@model_command()
@model_and_patch()
@click.option("-o", "--out", type=ANY_PATH, help="File to write.  [default: MODEL.fixed beside MODEL]")
@click.option("--dry-run", is_flag=True, help="Print what would become of each edit; write nothing.")
@click.option("--sequence", is_flag=True, help="Apply PATCH after one in the file that touches the same units.")
@mode_option
@other_weights_option
@loading_options
@json_option
def apply(model_and_patch: tuple[str, ...], loading: dict[str, Any], as_json: bool, **target: Any) -> None:
    """Write MODEL with PATCH in it, proved equal to the hooks.

    MODEL is weights (.pt, .safetensors), an exported program (.pt2), TorchScript or an ONNX graph, recognised by its
    content; the suffix of OUT says what to write. Weights keep their shape: the code that made them loads the
    repaired file unchanged.

    \b
      ganpatch apply model.pt fix.yaml
      ganpatch apply model.pt fix.yaml --dry-run
      ganpatch apply model.onnx fix.yaml -o fixed.onnx
    """
    from ganpatch.export.patched_models import Target, apply_patch
    from ganpatch.patch.patch_file import Patch

    model, file = split_patch(model_and_patch)
    patch = Patch.load(file)
    chosen = choose(model, loading, patch=patch)
    with working("baking and comparing"):
        done = apply_patch(chosen.model, patch, Target(**target), **chosen.as_keywords())
    for remark in done.remarks:
        say(remark)
    print_decisions(done.decisions, done.written, as_json)
    say(done.proof)
    say(f"repaired model in {done.written}" if done.written else "nothing is written (--dry-run)")
