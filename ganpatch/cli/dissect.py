"""`ganpatch dissect`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganpatch.cli.loading import load_model, loading_options, model_argument, model_command
from ganpatch.cli.options import (
    ANY_PATH,
    concepts_option,
    first_seeds,
    first_seeds_options,
    json_option,
    layers_option,
    segmenter_option,
)
from ganpatch.cli.output import print_json, print_table, progress_bar, say
from ganpatch.cli.running import compute_options, pass_group

if TYPE_CHECKING:
    from ganpatch.forward.processes import Group
    from ganpatch.generator.device import Compute


@model_command()
@model_argument
@layers_option("A layer to dissect; may be given several times.")
@segmenter_option
@concepts_option
@first_seeds_options
@click.option(
    "--threshold",
    default="best",
    show_default=True,
    metavar="best|q0.99",
    help="Activation above which a unit counts as active.",
)
@click.option("--k", default=12, show_default=True, type=click.IntRange(1, 1000), help="Top images kept per unit.")
@click.option("--batch-size", default=32, show_default=True, type=click.IntRange(1), help="Images in one forward pass.")
@click.option("-o", "--out", type=ANY_PATH, help="Run folder to write.  [default: MODEL-dissection]")
@click.option("--resume", is_flag=True, help="Continue an interrupted dissection.")
@click.option("--overwrite", is_flag=True, help="Replace a run that is in the folder.")
@compute_options
@loading_options
@json_option
@pass_group
def dissect(
    group: "Group",
    /,
    model: str | None,
    layers: tuple[str, ...],
    segmenter: str,
    concepts: tuple[str, ...],
    n: int,
    seeds: str | None,
    out: Path | None,
    resume: bool,
    overwrite: bool,
    loading: dict[str, Any],
    compute: "Compute",
    as_json: bool,
    **choices: Any,
) -> None:
    """Find the concept that each unit of MODEL represents, by IoU with segmentation masks.

    \b
      ganpatch dissect --layer layer4 --layer layer6 --segmenter churches
      ganpatch dissect model.pt --segmenter strokes:strokes.json -o run
    """
    from ganpatch.dissection.report_rows import dissection_json, dissection_rows
    from ganpatch.runs.dissection_run import dissect_to_folder
    from ganpatch.runs.run_folder import RunFolder
    from ganpatch.segmenters.loading import load_segmenter

    generator = load_model(model, loading, compute)
    group.join(generator.compute.device)
    numbers = first_seeds(generator, n, seeds)
    found = load_segmenter(segmenter, generator, concepts=concepts)
    folder = RunFolder.named(
        out, generator.name, "dissection", resume=resume, overwrite=overwrite, say=say, group=group
    )
    with progress_bar("dissecting") as progress:
        dissection = dissect_to_folder(generator, found, folder, layers, numbers, progress=progress, **choices)
    if as_json:
        print_json(dissection_json(dissection, folder.path))
        return
    print_table(*dissection_rows(dissection), numeric=list(dissection.layers))
