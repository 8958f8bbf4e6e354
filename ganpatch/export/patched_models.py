"""A model with a patch in it, whatever the model is and whatever kind of file is wanted.

Example:

    done = apply_patch("model.pt", patch)                        # writes model.fixed.pt
    done = apply_patch("model.onnx", patch, Target(out=Path("fixed.onnx")))
    done = apply_patch("model.pt", patch, Target(dry_run=True))  # writes nothing
    done.decisions, done.written, done.proof
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ganpatch.export.patch_record import is_made_for_base, read_record, refuse_repetition
from ganpatch.export.repairing import Request, file_kind, repair, repaired_path, source_file
from ganpatch.export.report_rows import exported_text, graph_text, proof_text
from ganpatch.families.loading import load, weights_file
from ganpatch.fold.baking import Baked, bake
from ganpatch.fold.planning import Decision
from ganpatch.generator.generator import Generator
from ganpatch.generator.load_options import LoadOptions
from ganpatch.option_values import Mode
from ganpatch.patch.patch_file import Patch
from ganpatch.untrusted.weight_files import kind_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Which file to write (next to the model when `out` is None), and how strict to be."""

    out: Path | None = None
    dry_run: bool = False
    sequence: bool = False
    mode: Mode = "auto"
    allow_other_weights: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchedModel:
    """What became of each edit, the file that was written, the proof that it equals the hooks, remarks of loading."""

    decisions: tuple[Decision, ...]
    written: Path | None
    proof: str
    remarks: tuple[str, ...] = ()


_PLAIN = Target()


def apply_patch(model: str | Path | None, patch: Patch, target: Target = _PLAIN, **options: Any) -> PatchedModel:
    """Write `model` with `patch` in it, as the kind of file of `target.out`; `options` are those of `load`.

    Raises GanpatchError, and writes nothing, when an edit does not fit into that kind of file, the patch is already in
    it, or what was written does not equal the hooks.
    """
    file = weights_file(model)
    if file is not None and kind_of(file) == "onnx":
        return _graph(file, patch, target, LoadOptions.of(**options))
    generator = load(model, **options)
    if target.dry_run:
        baked = bake(generator, patch, mode=target.mode, allow_other_weights=target.allow_other_weights)
        return _patched(baked, None, generator)
    source = source_file(model)
    out = target.out or repaired_path(source)
    if file_kind(out, source) == "onnx":
        return _exported(source, out, generator, patch, target)
    request = Request(
        key=options.get("key"),
        sequence=target.sequence,
        mode=target.mode,
        allow_other_weights=target.allow_other_weights,
    )
    repaired = repair(generator, patch, source=source, output=out, request=request)
    return _patched(repaired.baked, out, generator)


def _patched(baked: Baked, written: Path | None, generator: Generator) -> PatchedModel:
    return PatchedModel(
        decisions=tuple(baked.decisions),
        written=written,
        proof=proof_text(baked.proof),
        remarks=generator.remarks,
    )


def _graph(file: Path, patch: Patch, target: Target, options: LoadOptions) -> PatchedModel:
    from ganpatch.export.onnx_patching import patch_onnx  # onnx and onnxruntime take a second to import

    with TemporaryDirectory() as scratch:
        out = Path(scratch) / file.name if target.dry_run else target.out or repaired_path(file)
        graph = patch_onnx(
            file,
            patch,
            out,
            sequence=target.sequence,
            mode=target.mode,
            allow_other_weights=target.allow_other_weights,
            options=options,
        )
    written = None if target.dry_run else out
    return PatchedModel(decisions=tuple(graph.decisions), written=written, proof=graph_text(graph))


def _exported(source: Path, out: Path, generator: Generator, patch: Patch, target: Target) -> PatchedModel:
    from ganpatch.export.onnx_export import export_onnx

    record = read_record(source)
    refuse_repetition(source, record, patch, sequence=target.sequence)
    known = is_made_for_base(record, patch, generator.fingerprint.weights)
    exported = export_onnx(
        generator, out, patch=patch, mode=target.mode, allow_other_weights=target.allow_other_weights or known
    )
    return PatchedModel(decisions=tuple(exported.decisions), written=out, proof=exported_text(exported))
