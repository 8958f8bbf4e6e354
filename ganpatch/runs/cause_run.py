"""A complete intervention study as a folder: causes and their report. An interrupted study can be resumed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from ganpatch.causes.insertion_sites import Context, insertion_by_context
from ganpatch.causes.interventions import Interventions
from ganpatch.causes.report import PAGE, UNITS, write_causes_page
from ganpatch.causes.result import MANIFEST, Causes, ContextRow
from ganpatch.causes.search import Effort, find_causes
from ganpatch.disk.atomic_files import replacing_together
from ganpatch.families.origins import ORIGIN, write_origin
from ganpatch.forward.activations import Progress, unseen
from ganpatch.generator.generator import Generator
from ganpatch.number_ranges import parse_spans
from ganpatch.runs.ranking_run import check_layers
from ganpatch.runs.run_folder import RunFolder
from ganpatch.segmenters.loading import Segmenter


def cause_to_folder(
    generator: Generator,
    segmenter: Segmenter,
    folder: Path | RunFolder,
    layer: str,
    concepts: Sequence[str],
    effort: Effort,
    *,
    context: bool = False,
    progress: Progress = unseen,
) -> Causes:
    """Find causes, write them and their report into `folder`, and return them.

    With `context`, also measure how well each concept can be inserted, by what was there before.

    Raises GanpatchError if the folder has causes, finished or not, and is not a RunFolder that resumes or overwrites
    them.
    """
    run = RunFolder.of(folder)
    check_layers(generator, [layer])
    for concept in concepts:
        segmenter.index(concept)
    with run.opened(MANIFEST) as partial:
        causes = find_causes(generator, segmenter, layer, concepts, effort, progress=progress, partial=partial)
        contexts = _contexts(causes, Interventions(generator, segmenter, layer)) if context else {}
        causes = _with_contexts(causes, contexts)
        with replacing_together(run.path, MANIFEST, without=[ORIGIN]) as room:
            write_origin(run.path, generator.origin, into=room)
            causes.save(room)
            write_causes_page(causes, generator, room, contexts)
    run.say(f"open {run.path / PAGE} in a browser")
    return causes


def _contexts(causes: Causes, bench: Interventions) -> dict[str, Context]:
    """Insert each concept at its 99 % quantiles, at single positions of held-out images."""
    seeds, found = parse_spans(causes.held_out, what="seed"), {}
    for concept, of_concept in causes.concepts.items():
        units = torch.tensor(of_concept.ranked()[:UNITS])
        found[concept] = insertion_by_context(bench, units, causes.q99[units], concept, seeds)
    return found


def _with_contexts(causes: Causes, contexts: Mapping[str, Context]) -> Causes:
    concepts = dict(causes.concepts)
    for concept, context in contexts.items():
        rows = tuple(ContextRow(before=name, places=places, gain=gain) for name, places, gain in context.rows())
        concepts[concept] = replace(concepts[concept], context=rows)
    return replace(causes, concepts=concepts)
