"""Where results go: a report next to the patch file, its evidence, a new patch, a folder of pairs.

    path = save_evaluation(evaluation, Path("fix.yaml"), evidence=True)     # fix.html, and figures into fix.yaml
    target = tuned_file(Path("fix.yaml"))                                   # fix-tuned.yaml; before the work begins
    save_tuned(tuned, target)
    folder = prepare_judging(Path("fix.yaml"), load, PairChoices())         # fix-judged/index.html
    judged = finish_judging(Path("fix.yaml"), folder)

A record is put into the file as it is at that moment, so nothing is lost that something else has written meanwhile. The
file is replaced as a whole: when writing fails, the former evidence remains.
"""

from collections.abc import Callable
from pathlib import Path

from ganpatch.disk.atomic_files import replacing
from ganpatch.disk.locks import locked
from ganpatch.errors import GanpatchError
from ganpatch.evaluation.evaluator import Evaluation
from ganpatch.evaluation.judge_page import JUDGING, begun_comparison, judged_so_far, write_judge_page
from ganpatch.evaluation.judging import Judged, read_answers, read_comparison
from ganpatch.evaluation.pairs import PairChoices, draw_pairs
from ganpatch.evaluation.report import write_evaluation
from ganpatch.evaluation.tuner import Tuned
from ganpatch.evaluation.tuning_report import write_tuning
from ganpatch.forward.activations import Progress, unseen
from ganpatch.generator.generator import Generator
from ganpatch.patch.evidence import Record
from ganpatch.patch.new_files import refuse_taken, save_new_patch
from ganpatch.patch.patch_file import Patch


def add_record(path: Path, record: Record, digest: str) -> Patch:
    """Put `record` into the evidence of a patch file, and return the patch.

    Raises GanpatchError when the file no longer has the edits with this `digest`, which the record describes.
    """
    patch = Patch.load(path)
    if patch.digest != digest:
        raise GanpatchError(f"'{path}' has other edits than those that were measured; its evidence is left as it is")
    changed = patch.with_record(record)
    changed.save(path)
    return changed


def save_evaluation(evaluation: Evaluation, path: Path, *, report: Path | None = None, evidence: bool = False) -> Path:
    """Write the report of the patch file `path`, by default as PATCH.html, and return where it is.

    With `evidence`, the figures are put into the patch file.
    """
    page = report or path.with_suffix(".html")
    with replacing(page) as made:  # moved into place when the evidence is in the patch
        write_evaluation(evaluation, made)
        if evidence:
            add_record(path, evaluation.record(), evaluation.patch.digest)
    return page


def tuned_file(path: Path, out: Path | None = None, *, overwrite: bool = False) -> Path:
    """Return the file for the tuned patch of `path`, by default PATCH-tuned.yaml.

    Raises GanpatchError when it exists and may not be replaced.
    """
    target = out or path.with_name(f"{path.stem}-tuned.yaml")
    refuse_taken(target, overwrite=overwrite)
    return target


def save_tuned(tuned: Tuned, target: Path, *, overwrite: bool = False) -> Path:
    """Write the tuned patch, and a page with its trade-off beside it; return where the page is."""
    page = target.with_suffix(".html")
    with replacing(page) as made:  # moved into place when the patch is
        write_tuning(tuned, made)
        save_new_patch(tuned.patch, target, overwrite=overwrite)
    return page


def prepare_judging(
    path: Path,
    load: Callable[[], Generator],
    choices: PairChoices,
    *,
    folder: Path | None = None,
    progress: Progress = unseen,
) -> Path:
    """Return the folder of a comparison by eye of the patch file `path`, by default PATCH-judged, with its page.

    Pairs are drawn by the generator that `load` returns, unless the folder has them. Raises GanpatchError when it has
    pairs of another patch, or something else, or another process uses it.
    """
    patch, folder = Patch.load(path), folder or path.with_name(f"{path.stem}-judged")
    with locked(folder, JUDGING):
        comparison = begun_comparison(folder, patch)
        if comparison is None:
            comparison = draw_pairs(load(), patch, folder, choices, progress=progress)
        write_judge_page(folder, comparison)
    return folder


def finish_judging(path: Path, folder: Path, *, answers: Path | None = None) -> Judged:
    """Count the answers to the comparison of a folder: those of the file `answers`, or those that the folder holds.

    The result is put into the evidence of the patch file `path`, if anything was answered. Raises GanpatchError when
    the answers are to another comparison, or the comparison is of another patch.
    """
    comparison = read_comparison(folder)
    judged = judged_so_far(folder, comparison, read_answers(answers, comparison) if answers else None)
    if judged.answered:
        add_record(path, judged.record(), comparison.patch)
    return judged
