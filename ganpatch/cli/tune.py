"""`ganpatch tune`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganpatch.cli.loading import load_model, loading_options, model_command
from ganpatch.cli.options import ANY_PATH, features_option, json_option, model_and_patch, seeds_option, split_patch
from ganpatch.cli.output import print_json, print_table, progress_bar, say
from ganpatch.cli.running import compute_options
from ganpatch.option_values import TUNING_SEEDS

if TYPE_CHECKING:
    from ganpatch.generator.device import Compute


@model_command()
@model_and_patch()
@click.option(
    "--damage",
    default=0.01,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Largest mean change, of [0, 1], of the images that activate its units least.",
)
@seeds_option(TUNING_SEEDS)
@features_option
@click.option("-o", "--out", type=ANY_PATH, help="Patch to write.  [default: PATCH-tuned.yaml]")
@click.option("--overwrite", is_flag=True, help="Replace an existing patch file.")
@compute_options
@loading_options
@json_option
def tune(
    model_and_patch: tuple[str, ...],
    damage: float,
    seeds: Sequence[int],
    features: str,
    out: Path | None,
    overwrite: bool,
    loading: dict[str, Any],
    compute: "Compute",
    as_json: bool,
) -> None:
    """Soften PATCH until it does no harm: per unit 0, a mean, or a level to hold it at; units that do not help go.

    Writes the tuned patch and beside it a page with the trade-off of gain against damage.

    \b
      ganpatch tune model.pt fix.yaml
      ganpatch tune model.pt fix.yaml --damage 0.005 -o soft.yaml
    """
    from ganpatch.evaluation.patch_results import save_tuned, tuned_file
    from ganpatch.evaluation.tuner import Bound
    from ganpatch.evaluation.tuner import tune as tune_patch
    from ganpatch.evaluation.tuning_report import tuning_rows
    from ganpatch.finding.image_features import load_features
    from ganpatch.patch.patch_file import Patch

    model, path = split_patch(model_and_patch)
    patch, written = Patch.load(path), tuned_file(path, out, overwrite=overwrite)
    generator = load_model(model, loading, compute, patch=patch)
    with progress_bar("tuning") as progress:
        bound = Bound(damage=damage, seeds=seeds, features=load_features(features))
        tuned = tune_patch(generator, patch, bound, progress=progress)
    page = save_tuned(tuned, written, overwrite=overwrite)
    heading, *rows = tuning_rows(tuned)
    if as_json:
        print_json([dict(zip(heading, row, strict=True)) for row in rows])
    else:
        print_table(heading, rows, numeric=heading[1:])
    say(f"{written}, and its trade-off in {page}; next: ganpatch evaluate MODEL {written}")
