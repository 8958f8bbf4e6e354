"""Long work that the page starts, each piece in a process of its own; a task returns what the page shows.

Example:

    in_child(TASKS["rank"], report, model="churches", loading={}, layer="layer4", n=1000, folder=Path("run"))
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganpatch.dissection.dissector import dissect
from ganpatch.errors import GanpatchError
from ganpatch.export.patched_models import Target, apply_patch
from ganpatch.export.repairing import source_file
from ganpatch.export.report_rows import decision_rows
from ganpatch.families.loading import load
from ganpatch.fold.baking import Baked, bake
from ganpatch.forward.activations import Progress
from ganpatch.patch.patch_file import Patch
from ganpatch.ranking.result import read_manifest
from ganpatch.runs.ranking_run import rank_to_folder
from ganpatch.runs.run_folder import RunFolder
from ganpatch.segmenters.loading import load_segmenter
from ganpatch.studio.child_process import Task
from ganpatch.studio.figures import Wish, measured


def rank_task(
    report: Progress, model: str | None, loading: Mapping[str, Any], layer: str, n: int, folder: Path
) -> dict[str, Any]:
    """Rank a layer into a run folder."""
    generator = load(model, **loading)
    run = RunFolder(folder, overwrite=True)
    rank_to_folder(generator, run, [layer], generator.first_seeds(n), progress=report)
    return {"layer": layer, "run": read_manifest(folder).run}


def learn_task(
    report: Progress, model: str | None, loading: Mapping[str, Any], strokes: Path, layer: str, n: int, folder: Path
) -> dict[str, Any]:
    """Find the units that agree with painted strokes, into a run folder."""
    generator = load(model, **loading)
    segmenter = load_segmenter(f"strokes:{strokes}", generator)
    found = dissect(generator, segmenter, [layer], generator.first_seeds(n), progress=report)
    found.save(folder)
    best = {concept: float(found[layer].iou[:, place].max()) for place, concept in enumerate(found.concepts)}
    return {"layer": layer, "concepts": best}


def quality_task(
    report: Progress,
    model: str | None,
    loading: Mapping[str, Any],
    patch: Path,
    wish: Mapping[str, Any],
    real: Path | None,
    folder: Path,
) -> dict[str, Any]:
    """Measure whether images are better with the patch, and than with random units."""
    generator, fix = load(model, **loading), Patch.load(patch)
    return measured(generator, fix, Wish(**wish), folder, real=real, progress=report).model_dump()


def bake_task(_report: Progress, model: str | None, loading: Mapping[str, Any], patch: Path) -> dict[str, Any]:
    """Describe what becomes of each edit in weights."""
    done = apply_patch(model, Patch.load(patch), Target(dry_run=True), **loading)
    heading, *rows = decision_rows(done.decisions)
    edits = [dict(zip(heading, row, strict=True)) for row in rows]
    return {"edits": edits, "proof": done.proof}


def weights_task(
    _report: Progress, model: str | None, loading: Mapping[str, Any], patch: Path, folder: Path
) -> dict[str, Any]:
    """Write repaired weights."""
    source = source_file(model or "churches")
    output = folder / f"{source.stem}.fixed{source.suffix}"
    fix = Patch.load(patch)
    try:
        done = apply_patch(model, fix, Target(out=output), **loading)
    except GanpatchError:
        baked = bake(load(model, **loading), fix)
        if not baked.inserted:
            raise
        raise GanpatchError(_not_in_weights(baked)) from None
    return {"file": output.name, "proof": done.proof}


def _not_in_weights(baked: Baked) -> str:
    """Return for the page which edits weights cannot hold, why, and what can."""
    reasons = {edit.id: edit.reason or edit.id for edit in baked.inserted}
    lines = [f"“{reasons[one.edit]}”: {one.reason}" for one in baked.decisions if one.edit in reasons]
    return f"Weights cannot hold {'; '.join(lines)}. Switch off what they cannot hold, or download the patch or ONNX."


def onnx_task(
    _report: Progress, model: str | None, loading: Mapping[str, Any], patch: Path, folder: Path
) -> dict[str, Any]:
    """Write an ONNX graph with the patch inside."""
    fix = Patch.load(patch)
    from ganpatch.export.onnx_export import export_onnx  # onnx takes a second to import

    exported = export_onnx(load(model, **loading), folder / f"{fix.name}.onnx", patch=fix)
    return {"file": exported.path.name, "bytes": exported.size}


TASKS: dict[str, Task] = {
    "rank": rank_task,
    "learn": learn_task,
    "quality": quality_task,
    "bake": bake_task,
    "weights": weights_task,
    "onnx": onnx_task,
}
