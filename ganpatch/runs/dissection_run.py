"""A complete dissection as a run folder: the ranking with its review page, the dissection with its report."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ganpatch.dissection.dissector import dissect
from ganpatch.dissection.report import PAGE, write_dissection_page
from ganpatch.dissection.result import Dissection
from ganpatch.forward.activations import Progress, unseen
from ganpatch.generator.generator import Generator
from ganpatch.ranking.result import MANIFEST
from ganpatch.review.page import write_page_files
from ganpatch.runs.ranking_run import check_layers, chosen_layers
from ganpatch.runs.run_folder import RunFolder
from ganpatch.segmenters.loading import Segmenter


def dissect_to_folder(
    generator: Generator,
    segmenter: Segmenter,
    folder: Path | RunFolder,
    layers: Sequence[str],
    seeds: Sequence[int],
    *,
    progress: Progress = unseen,
    **choices: Any,
) -> Dissection:
    """Dissect, save the run in `folder` and write both pages; `choices` are the other options of `dissect`.

    Without `layers`, the default layer. Raises GanpatchError if the folder has a run, finished or not, and is not a
    RunFolder that resumes or overwrites it.
    """
    run = RunFolder.of(folder)
    check_layers(generator, layers)
    with run.opened(MANIFEST) as partial:
        choices |= {"progress": progress, "partial": partial, "group": run.group}
        dissection = dissect(generator, segmenter, chosen_layers(generator, layers, run.say), seeds, **choices)
        if run.group.is_first:
            with run.replacing(MANIFEST, generator) as room:
                dissection.save(room)
                write_page_files(room, room, name=run.path.name)
                write_dissection_page(dissection, room)
    run.say(f"dissected {', '.join(dissection.layers)} over {len(seeds)} images in {dissection.ranking.seconds:.1f} s")
    run.say(f"open {run.path / PAGE} in a browser")
    return dissection
