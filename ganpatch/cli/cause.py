"""`ganpatch cause`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganpatch.cli import completing
from ganpatch.cli.loading import load_model, loading_options, model_argument, model_command
from ganpatch.cli.options import ANY_PATH, concepts_option, json_option, segmenter_option
from ganpatch.cli.output import print_json, print_table, progress_bar, say
from ganpatch.cli.running import compute_options
from ganpatch.option_values import DEFAULT_PRESET, HELD_OUT_SEEDS, PRESETS, TRAINING_SEEDS

if TYPE_CHECKING:
    from ganpatch.generator.device import Compute


@model_command()
@model_argument
@click.option("--layer", required=True, shell_complete=completing.layers, help="The layer to intervene in.")
@click.option(
    "--concept",
    "studied",
    multiple=True,
    required=True,
    shell_complete=completing.concepts,
    help="A concept; may be given several times.",
)
@segmenter_option
@concepts_option
@click.option(
    "--preset", type=click.Choice(PRESETS), default=DEFAULT_PRESET, show_default=True, help="How alphas are optimised."
)
@click.option("--steps", default=250, show_default=True, type=click.IntRange(1), help="Steps of the optimiser.")
@click.option(
    "--radius",
    default=1,
    show_default=True,
    type=click.IntRange(0, 32),
    help="Grow each intervention by this many positions.",
)
@click.option("--single", is_flag=True, help="Also measure every unit alone, which takes longer.")
@click.option(
    "--context", is_flag=True, help="Also measure how well the concept can be inserted, by what was there before."
)
@click.option(
    "-n", "--n", default=len(TRAINING_SEEDS), show_default=True, type=click.IntRange(8), help="Images to learn from."
)
@click.option(
    "--held-out",
    default=len(HELD_OUT_SEEDS),
    show_default=True,
    type=click.IntRange(1),
    help="Other images to report on.",
)
@click.option("-o", "--out", type=ANY_PATH, help="Folder to write.  [default: MODEL-LAYER-causes]")
@click.option("--resume", is_flag=True, help="Continue an interrupted run.")
@click.option("--overwrite", is_flag=True, help="Replace what is in the folder.")
@compute_options
@loading_options
@json_option
def cause(
    model: str | None,
    layer: str,
    studied: tuple[str, ...],
    segmenter: str,
    concepts: tuple[str, ...],
    n: int,
    held_out: int,
    out: Path | None,
    context: bool,
    resume: bool,
    overwrite: bool,
    loading: dict[str, Any],
    compute: "Compute",
    as_json: bool,
    **effort: Any,
) -> None:
    """Find the units of a layer of MODEL that cause a concept, by switching them off and on.

    \b
      ganpatch cause --layer layer4 --concept tree --concept door -o causes
      ganpatch patch remove --from causes --concept tree -o no-trees.yaml
    """
    from ganpatch.causes.report_rows import causes_json, causes_rows
    from ganpatch.causes.search import Effort
    from ganpatch.runs.cause_run import cause_to_folder
    from ganpatch.runs.run_folder import RunFolder
    from ganpatch.segmenters.loading import load_segmenter

    generator = load_model(model, loading, compute)
    found = load_segmenter(segmenter, generator, concepts=concepts, after=layer)
    folder = RunFolder.named(out, generator.name, layer, "causes", resume=resume, overwrite=overwrite, say=say)
    with progress_bar("intervening") as progress:
        chosen = Effort.over(n, held_out, **effort)
        causes = cause_to_folder(generator, found, folder, layer, studied, chosen, context=context, progress=progress)
    if as_json:
        print_json(causes_json(causes, folder.path))
        return
    heading, rows = causes_rows(causes)
    print_table(heading, rows, numeric=heading[2:])
