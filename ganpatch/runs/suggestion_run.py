"""Suggestions for a run folder: computed by methods, saved in it, and shown on its review page."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from ganpatch.disk.atomic_files import replacing_together
from ganpatch.disk.locks import locked
from ganpatch.errors import GanpatchError
from ganpatch.finding.kept_results import KEPT, KeptResults
from ganpatch.finding.methods import suggest
from ganpatch.finding.suggestions import ARRAYS, INDEX, Suggested, read_suggestions, write_suggestions
from ganpatch.finding.task import Task
from ganpatch.forward.processes import ALONE, Group
from ganpatch.generator.generator import Generator
from ganpatch.number_ranges import format_spans
from ganpatch.ranking.result import Manifest, Ranking, read_manifest
from ganpatch.review.page import PAGE, write_page_files


def suggest_for_run(
    folder: Path,
    generator: Generator,
    methods: Sequence[str],
    layers: Sequence[str] = (),
    group: Group = ALONE,
    **given: Any,
) -> dict[str, Suggested]:
    """Score the units of a run by `methods`, save the scores in the folder, and rewrite its page.

    `given` are the other fields of Task. What was computed before a failure is kept in the folder, and the next search
    with the same settings continues from it. Raises GanpatchError if `generator` is not the one that was ranked.
    """
    _check_same(read_manifest(folder), generator, folder)
    with locked(folder) if group.is_first else nullcontext():
        manifest = read_manifest(folder)
        task = Task(generator=generator, ranking=Ranking.load(folder), group=group, **given)
        task = replace(task, kept=KeptResults(folder / KEPT, _plan(task, manifest), group))
        with _keeping(task.kept, folder):
            found = suggest(task, methods, layers)
            if group.is_first:
                _write(folder, manifest, found)
        group.gathered({})
        if group.is_first:
            task.kept.remove()
    return found


def _write(folder: Path, manifest: Manifest, found: dict[str, Suggested]) -> None:
    """Replace the suggestions and the page of a run together."""
    every = {**read_suggestions(folder, manifest), **found}
    with replacing_together(folder, ARRAYS, INDEX, PAGE) as room:
        write_suggestions(room, manifest, every)
        write_page_files(folder, room, name=folder.name, suggested=every)


@contextmanager
def _keeping(kept: KeptResults, folder: Path) -> Iterator[None]:
    """Save what was computed when the block fails or is interrupted, and say so."""
    try:
        yield
    except BaseException as fault:
        with suppress(GanpatchError):
            if kept.save():
                fault.add_note(f"what was computed is saved in '{folder}'; the same command continues from it")
        raise


def _plan(task: Task, manifest: Manifest) -> dict[str, object]:
    """Return what the results of a search depend on."""
    code, _, _ = task.features.name.partition(":")
    return {
        "run": manifest.run,
        "features": task.features.name,
        "code": sha256(Path(code).read_bytes()).hexdigest() if Path(code).is_file() else "",
        "images": task.images,
        "references": task.references,
        "broken": format_spans(task.broken),
        "real": None if task.real is None else str(task.real.resolve()),
        "compute": str(task.generator.compute),
    }


def suggestion_rows(found: dict[str, Suggested], first: int) -> list[list[str]]:
    """Return a heading and a table with the first units of each method and layer."""
    rows = [["method", "layer", "look first at", "scores"]]
    for method, one in found.items():
        for layer, of_layer in one.layers.items():
            units = of_layer.first(first)
            low, high = of_layer.score[units[-1]].item(), of_layer.score[units[0]].item()
            rows.append([method, layer, ",".join(str(unit) for unit in units), f"{high:.3g} to {low:.3g}"])
    return rows


def _check_same(manifest: Manifest, generator: Generator, folder: Path) -> None:
    ranked, own = manifest.model.fingerprint, generator.fingerprint
    if (ranked.structure, ranked.weights) != (own.structure, own.weights):
        raise GanpatchError(
            f"'{folder}' ranks {manifest.model.name} ({ranked.weights[7:19]}), but this model has other weights "
            f"({own.weights[7:19]}); name the ranked model with --model"
        )
    if str(generator.latent) != manifest.latent or generator.range != manifest.range:
        raise GanpatchError(
            f"'{folder}' was ranked with latent {manifest.latent} and range {manifest.range}, not {generator.latent} "
            f"and {generator.range}; use the same options as then"
        )
