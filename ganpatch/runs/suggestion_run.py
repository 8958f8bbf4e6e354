"""Suggestions for a run folder: computed by methods, saved in it, and shown on its review page."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from ganpatch.disk.atomic_files import replacing_together
from ganpatch.disk.locks import locked
from ganpatch.errors import GanpatchError
from ganpatch.finding.kept_results import KEPT, KeptResults
from ganpatch.finding.methods import suggest
from ganpatch.finding.set_search import suggest_sets
from ganpatch.finding.suggestions import (
    ARRAYS,
    INDEX,
    Suggested,
    UnitSet,
    read_sets,
    read_suggestions,
    write_suggestions,
)
from ganpatch.finding.task import Task
from ganpatch.forward.processes import ALONE, Group
from ganpatch.generator.generator import Generator
from ganpatch.number_ranges import format_spans, parse_spans
from ganpatch.option_values import DEFAULT_METHOD, SETS
from ganpatch.ranking.result import Manifest, Ranking, read_manifest
from ganpatch.review.page import PAGE, write_page_files


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What was suggested for a run: the scores of `methods`, and `sets` of units, None if they were not asked for."""

    methods: dict[str, Suggested]
    sets: tuple[UnitSet, ...] | None = None

    @property
    def remark(self) -> str:
        """Return what to do next."""
        if self.sets == ():
            return "no set of units takes away what a group of images shares at one place"
        return "look before you flag: open the page of the run, sort by a suggestion, or see its sets"


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
    with _searching(folder, generator, group, given) as (task, manifest):
        found = suggest(task, methods, layers)
        _write(folder, manifest, group, found, None)
    return found


def suggest_sets_for_run(
    folder: Path, generator: Generator, layers: Sequence[str] = (), group: Group = ALONE, **given: Any
) -> tuple[UnitSet, ...]:
    """Find sets of units that draw a fault together, save them in the run folder, and rewrite its page.

    `given` are the other fields of Task, of which `broken` are seeds of images to start from. The sets replace those
    found before. Raises GanpatchError if `generator` is not the one that was ranked.
    """
    with _searching(folder, generator, group, given) as (task, manifest):
        found = suggest_sets(task, layers)
        _write(folder, manifest, group, {}, found)
    return found


def propose(
    folder: Path,
    generator: Generator,
    names: Sequence[str],
    layers: Sequence[str] = (),
    *,
    broken: str | None = None,
    **given: Any,
) -> Proposal:
    """Run the methods `names`, of which `sets` looks for sets; with images called `broken`, that is the default.

    `broken` are seeds, as "3,17-19", or LAYER:UNIT for the top images of a row.
    """
    given |= {"broken": broken_seeds(folder, broken) if broken else ()}
    chosen = names or [SETS if broken else DEFAULT_METHOD]
    methods = [name for name in chosen if name != SETS]
    found = suggest_for_run(folder, generator, methods, layers, **given) if methods else {}
    sets = suggest_sets_for_run(folder, generator, layers, **given) if SETS in chosen else None
    return Proposal(methods=found, sets=sets)


def broken_seeds(folder: Path, text: str) -> Sequence[int]:
    """Return the seeds of broken images: those listed, or the top images of the row LAYER:UNIT."""
    layer, colon, unit = text.rpartition(":")
    if not colon:
        return parse_spans(text, what="seed")
    ranked = Ranking.load(folder)[layer]
    if not unit.isdecimal() or int(unit) >= ranked.units:
        raise GanpatchError(f"--broken {text}: '{unit}' is no unit of '{layer}' (0-{ranked.units - 1})")
    seeds: list[int] = ranked.top_seeds[int(unit)].tolist()
    return seeds


@contextmanager
def _searching(
    folder: Path, generator: Generator, group: Group, given: dict[str, Any]
) -> Iterator[tuple[Task, Manifest]]:
    """Lock a run folder, and yield the task and the manifest; what is computed is kept if the search fails."""
    _check_same(read_manifest(folder), generator, folder)
    with locked(folder) if group.is_first else nullcontext():
        manifest = read_manifest(folder)
        task = Task(generator=generator, ranking=Ranking.load(folder), group=group, **given)
        task = replace(task, kept=KeptResults(folder / KEPT, _plan(task, manifest), group))
        with _keeping(task.kept, folder):
            yield task, manifest
        group.gathered({})
        if group.is_first:
            task.kept.remove()


def _write(
    folder: Path,
    manifest: Manifest,
    group: Group,
    found: dict[str, Suggested],
    sets: tuple[UnitSet, ...] | None,
) -> None:
    """Replace the suggestions and the page of a run together."""
    if not group.is_first:
        return
    every = {**read_suggestions(folder, manifest), **found}
    kept = read_sets(folder, manifest) if sets is None else sets
    with replacing_together(folder, ARRAYS, INDEX, PAGE) as room:
        write_suggestions(room, manifest, every, kept)
        write_page_files(folder, room, name=folder.name, suggested=every, sets=kept)


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
    rows = [["method", "layer", "look first at", "scores", "its edit goes into"]]
    for method, one in found.items():
        for layer, of_layer in one.layers.items():
            units = of_layer.first(first)
            low, high = of_layer.score[units[-1]].item(), of_layer.score[units[0]].item()
            where = "weights, .pt2, .onnx" if of_layer.above is None else ".pt2, .onnx, hooks"
            rows.append([method, layer, ",".join(str(unit) for unit in units), f"{high:.3g} to {low:.3g}", where])
    return rows


def set_rows(sets: Sequence[UnitSet] | None) -> list[list[str]]:
    """Return a heading and a table of sets."""
    rows = [["set", "layer", "units", "gain", "harm", "found from"]]
    for one in sets or ():
        units = format_spans(one.units)
        rows.append([one.name, one.layer, units, f"{one.gain:.0%}", f"{one.harm:.1%}", one.start])
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
