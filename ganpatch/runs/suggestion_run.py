"""Suggestions for a run folder: computed by methods, saved in it, and shown on its review page."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ganpatch.disk.locks import locked
from ganpatch.errors import GanpatchError
from ganpatch.finding.methods import suggest
from ganpatch.finding.suggestions import Suggested, save_suggestions
from ganpatch.finding.task import Task
from ganpatch.forward.processes import ALONE, Group
from ganpatch.generator.generator import Generator
from ganpatch.ranking.result import Manifest, Ranking, read_manifest
from ganpatch.review.page import write_page


def suggest_for_run(
    folder: Path,
    generator: Generator,
    methods: Sequence[str],
    layers: Sequence[str] = (),
    group: Group = ALONE,
    **given: Any,
) -> dict[str, Suggested]:
    """Score the units of a run by `methods`, save the scores in the folder, and rewrite its page.

    `given` are the other fields of Task. Raises GanpatchError if `generator` is not the one that was ranked.
    """
    _check_same(read_manifest(folder), generator, folder)
    with locked(folder) if group.is_first else nullcontext():
        manifest = read_manifest(folder)
        task = Task(generator=generator, ranking=Ranking.load(folder), group=group, **given)
        found = suggest(task, methods, layers)
        if group.is_first:
            save_suggestions(folder, manifest, found)
            write_page(folder)
    return found


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
