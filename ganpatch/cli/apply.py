"""`ganpatch apply`."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from ganpatch.cli import completing
from ganpatch.cli.loading import load_model, loading_options
from ganpatch.cli.options import ANY_PATH, PATCH_FILE, json_option, mode_option, other_weights_option
from ganpatch.cli.output import print_decisions, say

_NOTHING = "nothing is written (--dry-run)"


@click.command()
@click.argument("model", shell_complete=completing.models)
@click.argument("patch_file", metavar="PATCH", type=PATCH_FILE)
@click.option("-o", "--out", type=ANY_PATH, help="File to write.  [default: MODEL.fixed beside MODEL]")
@click.option("--dry-run", is_flag=True, help="Print what would become of each edit; write nothing.")
@click.option("--sequence", is_flag=True, help="Apply PATCH after one in the file that touches the same units.")
@mode_option
@other_weights_option
@loading_options
@json_option
def apply(
    model: str,
    patch_file: Path,
    out: Path | None,
    dry_run: bool,
    sequence: bool,
    mode: Any,
    allow_other_weights: bool,
    loading: dict[str, Any],
    as_json: bool,
) -> None:
    """Write MODEL with PATCH in it, proved equal to the hooks.

    MODEL is weights (.pt, .safetensors), an exported program (.pt2), TorchScript or an ONNX graph, told by its
    content; the suffix of OUT says what to write. Weights keep their shape: the code that made them loads the
    repaired file unchanged.

    \b
      ganpatch apply model.pt fix.yaml
      ganpatch apply model.pt fix.yaml --dry-run
      ganpatch apply model.onnx fix.yaml -o fixed.onnx
    """
    from ganpatch.export.onnx_export import export_onnx
    from ganpatch.export.onnx_patching import patch_onnx
    from ganpatch.export.patch_record import is_made_for_base, read_record, refuse_repetition
    from ganpatch.export.repairing import Request, file_kind, repair, repaired_path, source_file
    from ganpatch.export.report_rows import exported_text, graph_text, proof_text
    from ganpatch.families.loading import weights_file
    from ganpatch.fold.baking import bake
    from ganpatch.patch.patch_file import Patch
    from ganpatch.untrusted.weight_files import kind_of

    patch = Patch.load(patch_file)
    strict = {"mode": mode, "allow_other_weights": allow_other_weights}
    file = weights_file(model)
    if file is not None and kind_of(file) == "onnx":
        with TemporaryDirectory() as scratch:
            out = Path(scratch) / file.name if dry_run else out or repaired_path(file)
            graph = patch_onnx(file, patch, out, sequence=sequence, **strict)
        print_decisions(graph.decisions, None if dry_run else out, as_json)
        say(graph_text(graph))
        say(_NOTHING if dry_run else f"repaired model in {out}")
        return
    if dry_run:
        baked = bake(load_model(model, loading), patch, **strict)
        print_decisions(baked.decisions, None, as_json)
        say(proof_text(baked.proof))
        say(_NOTHING)
        return
    source = source_file(model)
    out = out or repaired_path(source)
    if file_kind(out, source) == "onnx":
        generator, record = load_model(model, loading), read_record(source)
        refuse_repetition(source, record, patch, sequence=sequence)
        strict["allow_other_weights"] |= is_made_for_base(record, patch, generator.fingerprint.weights)
        exported = export_onnx(generator, out, patch=patch, **strict)
        print_decisions(exported.decisions, out, as_json)
        say(exported_text(exported))
    else:
        request = Request(key=loading["key"], sequence=sequence, **strict)
        repaired = repair(load_model(model, loading), patch, source=source, output=out, request=request)
        print_decisions(repaired.baked.decisions, out, as_json)
        say(proof_text(repaired.baked.proof))
    say(f"repaired model in {out}")
