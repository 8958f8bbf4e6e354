"""`ganpatch rank`."""

import re
from pathlib import Path
from typing import Any

import click

from ganpatch.cli.options import (
    ANY_PATH,
    json_option,
    load_model,
    loading_options,
    model_argument,
    print_json,
    progress_bar,
    say,
)
from ganpatch.config import read_settings
from ganpatch.review.run import rank_to_folder
from ganpatch.spans import parse_spans


@click.command()
@model_argument
@click.option("--layer", "layers", multiple=True, help="A layer to rank; may be given several times.")
@click.option("--n", default=1000, show_default=True, type=click.IntRange(1), help="Number of images, seeds 0 to n-1.")
@click.option("--seeds", metavar="0,1,4-6", help="These seeds instead of the first n.")
@click.option("--k", default=12, show_default=True, type=click.IntRange(1, 1000), help="Top images kept per unit.")
@click.option(
    "--score",
    type=click.Choice(["max", "mean", "q99"]),
    default="max",
    show_default=True,
    help="An image's score for a unit, over the unit's map.",
)
@click.option("--batch-size", default=32, show_default=True, type=click.IntRange(1))
@click.option("-o", "--out", type=ANY_PATH, help="Run folder to write.  [default: MODEL-run]")
@click.option("--resume", is_flag=True, help="Go on with an interrupted ranking.")
@click.option("--overwrite", is_flag=True, help="Replace a run that is in the folder.")
@loading_options
@json_option
def rank(
    model: str | None,
    layers: tuple[str, ...],
    n: int,
    seeds: str | None,
    out: Path | None,
    loading: dict[str, Any],
    as_json: bool,
    **choices: Any,
) -> None:
    """Rank the units of MODEL by their top-activating images, and write a page to review them.

    \b
      ganpatch rank --n 1000
      ganpatch rank model.pt --layer layer4 --layer layer6 -o run
    """
    generator = load_model(model, loading)
    numbers = parse_spans(seeds, what="seed") if seeds else generator.first_seeds(n)
    folder = out or Path(re.sub(r"[^\w.-]+", "-", generator.name) + "-run")
    layers = layers or read_settings(Path()).rank.layers
    with progress_bar("ranking") as progress:
        ranking = rank_to_folder(generator, folder, layers, numbers, progress=progress, say=say, **choices)
    if as_json:
        print_json(
            {
                "folder": str(folder),
                "run": ranking.run,
                "seconds": ranking.seconds,
                "layers": {name: ranked.units for name, ranked in ranking.layers.items()},
            }
        )
