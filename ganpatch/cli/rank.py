"""`ganpatch rank`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganpatch.cli.loading import load_model, loading_options, model_argument, model_command
from ganpatch.cli.options import ANY_PATH, first_seeds, first_seeds_options, json_option, layers_option
from ganpatch.cli.output import print_json, progress_bar, say
from ganpatch.cli.running import compute_options, pass_group
from ganpatch.generator.configuration import read_settings
from ganpatch.option_values import SCORES

if TYPE_CHECKING:
    from ganpatch.forward.processes import Group
    from ganpatch.generator.device import Compute


@model_command()
@model_argument
@layers_option("A layer to rank; may be given several times.")
@first_seeds_options
@click.option("--k", default=12, show_default=True, type=click.IntRange(1, 1000), help="Top images kept per unit.")
@click.option(
    "--score",
    type=click.Choice(SCORES),
    default="max",
    show_default=True,
    help="An image's score for a unit, over the unit's map; relative: its maximum, relative to those of all units.",
)
@click.option("--batch-size", default=32, show_default=True, type=click.IntRange(1), help="Images in one forward pass.")
@click.option("-o", "--out", type=ANY_PATH, help="Run folder to write.  [default: MODEL-run]")
@click.option("--resume", is_flag=True, help="Continue an interrupted ranking.")
@click.option("--overwrite", is_flag=True, help="Replace a run that is in the folder.")
@compute_options
@loading_options
@json_option
@pass_group
def rank(
    group: "Group",
    /,
    model: str | None,
    layers: tuple[str, ...],
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
    """Rank the units of MODEL by their top-activating images, and write a page to review them.

    \b
      ganpatch rank --n 1000
      ganpatch rank model.pt --layer layer4 --layer layer6 -o run
    """
    from ganpatch.ranking.alike_rows import alike_layers
    from ganpatch.runs.ranking_run import rank_to_folder
    from ganpatch.runs.run_folder import RunFolder

    generator = load_model(model, loading, compute)
    group.join(generator.compute.device)
    numbers = first_seeds(generator, n, seeds)
    folder = RunFolder.named(out, generator.name, "run", resume=resume, overwrite=overwrite, say=say, group=group)
    layers = layers or read_settings(Path()).rank.layers
    with progress_bar("ranking") as progress:
        ranking = rank_to_folder(generator, folder, layers, numbers, progress=progress, **choices)
    if as_json:
        print_json(
            {
                "folder": str(folder.path),
                "run": ranking.run,
                "seconds": ranking.seconds,
                "layers": {name: ranked.units for name, ranked in ranking.layers.items()},
                "alike": {name: round(found.share, 4) for name, found in alike_layers(ranking).items()},
            }
        )
