"""A complete dissection as a run folder: the ranking with its review page, the dissection with its report."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ganpatch.dissection.dissector import dissect
from ganpatch.dissection.report import PAGE, write_dissection_page
from ganpatch.dissection.result import Dissection
from ganpatch.forward.activations import Progress, unseen
from ganpatch.forward.processes import ALONE, Group
from ganpatch.generator.generator import Generator
from ganpatch.ranking.result import MANIFEST
from ganpatch.review.page import write_page_files
from ganpatch.runs.ranking_run import Say, check_layers, chosen_layer, replacing_run, run_folder
from ganpatch.segmenters.loading import Segmenter


def dissect_to_folder(
    generator: Generator,
    segmenter: Segmenter,
    folder: Path,
    layers: Sequence[str],
    seeds: Sequence[int],
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = unseen,
    say: Say = lambda text: None,
    group: Group = ALONE,
    **choices: Any,
) -> Dissection:
    """Dissect, save the run in `folder` and write both pages; `choices` are the other options of `dissect`.

    Raises GanpatchError if the folder has a run, finished or not, and neither `overwrite` nor `resume` was asked for.
    """
    check_layers(generator, layers)
    with run_folder(folder, MANIFEST, resume=resume, overwrite=overwrite, say=say, group=group) as partial:
        layers = layers or [chosen_layer(generator, say)]
        choices |= {"progress": progress, "partial": partial, "group": group}
        dissection = dissect(generator, segmenter, layers, seeds, **choices)
        if group.is_first:
            with replacing_run(folder, MANIFEST, generator) as room:
                dissection.save(room)
                write_page_files(room, room, name=folder.name)
                write_dissection_page(dissection, room)
    say(f"dissected {', '.join(dissection.layers)} over {len(seeds)} images in {dissection.ranking.seconds:.1f} s")
    say(f"open {folder / PAGE} in a browser")
    return dissection
