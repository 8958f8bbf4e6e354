"""Long work, each piece in a process of its own: tracing a model changes how modules run in the whole process, and what
is drawn meanwhile would be wrong; a process can also be ended at any moment.

Example:

    in_child(rank_task, report, model="churches", loading={}, layer="layer4", n=1000, folder=Path("run"))
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from ganpatch.dissection.dissector import dissect
from ganpatch.errors import GanpatchError
from ganpatch.export.onnx_export import export_onnx
from ganpatch.export.repairing import repair, source_file
from ganpatch.export.report_rows import decision_rows, proof_text
from ganpatch.families.loading import load
from ganpatch.fold.baking import Baked, bake
from ganpatch.forward.activations import Progress
from ganpatch.patch.patch_file import Patch
from ganpatch.ranking.result import read_manifest
from ganpatch.runs.ranking_run import rank_to_folder
from ganpatch.segmenters.loading import load_segmenter
from ganpatch.studio.figures import Wish, measured

_GLANCE = 0.1  # seconds between looks at whether the work is still wanted

Task = Callable[..., dict[str, Any]]


def in_child(task: Task, report: Progress, **given: Any) -> dict[str, Any]:
    """Do a task in a child; what `report` raises ends it. Raise GanpatchError where the task does, or dies."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_work, args=(theirs, task, given), daemon=True)
    child.start()
    theirs.close()
    progress = (0, 0)
    try:
        while True:
            report(*progress)
            if ours.poll(_GLANCE):
                kind, content = ours.recv()
                if kind == "done":
                    found: dict[str, Any] = content
                    return found
                if kind == "refused":
                    raise GanpatchError(content)
                progress = content
    except EOFError:
        raise GanpatchError("the process that did this has died; is there enough memory?") from None
    finally:
        child.terminate()
        child.join()
        ours.close()


def rank_task(
    report: Progress, model: str | None, loading: Mapping[str, Any], layer: str, n: int, folder: Path
) -> dict[str, Any]:
    """Rank a layer into a run folder."""
    generator = load(model, **loading)
    rank_to_folder(generator, folder, [layer], generator.first_seeds(n), overwrite=True, progress=report)
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
    baked = bake(load(model, **loading), Patch.load(patch))
    heading, *rows = decision_rows(baked.decisions)
    edits = [dict(zip(heading, row, strict=True)) for row in rows]
    return {"edits": edits, "proof": proof_text(baked.proof)}


def weights_task(
    _report: Progress, model: str | None, loading: Mapping[str, Any], patch: Path, folder: Path
) -> dict[str, Any]:
    """Write repaired weights."""
    source = source_file(model or "churches")
    output = folder / f"{source.stem}.fixed{source.suffix}"
    generator, fix = load(model, **loading), Patch.load(patch)
    try:
        repaired = repair(generator, fix, source=source, output=output)
    except GanpatchError:
        baked = bake(generator, fix)
        if not baked.inserted:
            raise
        raise GanpatchError(_not_in_weights(baked)) from None
    return {"file": output.name, "proof": proof_text(repaired.baked.proof)}


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
    exported = export_onnx(load(model, **loading), folder / f"{fix.name}.onnx", patch=fix)
    return {"file": exported.path.name, "bytes": exported.size}


def _work(pipe: Connection, task: Task, given: Mapping[str, Any]) -> None:
    """Run in the child: the parent decides when it ends, and those who look at the page go first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(5)
    torch.set_num_threads(max(1, torch.get_num_threads() - 1))
    try:
        pipe.send(("done", task(lambda done, total: pipe.send(("progress", (done, total))), **given)))
    except GanpatchError as fault:
        pipe.send(("refused", str(fault)))
    except Exception as fault:  # said in the page; the child has no other voice
        pipe.send(("refused", f"unexpected {type(fault).__name__}: {fault}"))
